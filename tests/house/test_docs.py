"""The README, the pages of the documentation and the examples run as printed."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import fdm


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
FENCE = re.compile(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
# A page that imports one of these is skipped where it is not installed.
OPTIONAL = "PIL", "accelerate", "datasets", "grain", "hypothesis", "ignite", "lightning", "pyarrow", "transformers"
NOT_RUN = "not run here: needs "  # begins the titles of blocks that no test runs
SHELL = """set -euo pipefail
python() { "$PYTHON" "$@"; }
fdm() { "$PYTHON" -m fdm "$@"; }
torchrun() { "$PYTHON" -m torch.distributed.run "$@"; }
pip() { :; }
"""
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(tmp_path, *command):
    environment = {**os.environ, "FDM_STORE": str(tmp_path / "store"), "PYTHONWARNINGS": "error"}
    ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    return ran.stdout


def test_the_readme_runs_from_top_to_bottom(tmp_path):
    script = tmp_path / "readme.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL)), encoding="utf-8")
    assert "<fdm.Loader of 'train', epoch 2, 45 steps>" == run(tmp_path, str(script)).splitlines()[-1]


def test_the_readme_has_two_commands_and_ci_runs_the_second():
    commands = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    assert 2 == len(commands)
    assert commands[0].endswith("python examples/digits.py")
    assert commands[1].endswith("python -m pytest")
    assert "python -m pytest" in (ROOT / ".ci" / "run").read_text()


def test_the_digits_are_learned_and_resumed_exactly(tmp_path):
    out = run(tmp_path, "examples/digits.py")
    assert "these are exactly the examples that the first process would have seen next" in out
    assert 0.95 < float(re.search(r"accuracy ([\d.]+)% on test", out).group(1)) / 100
    assert ["epoch 3", "epoch 4", "epoch 5"] == re.findall(r"^epoch \d", out.partition("resumed")[2], re.MULTILINE)


def test_ranks_that_are_killed_go_on_with_another_number_of_ranks_and_see_each_example_once(tmp_path):
    out = run(tmp_path, "examples/ddp.py")
    assert 2 == out.count("was killed")
    assert 3 == len(re.findall(r"^epoch \d: \d+ examples, each once$", out, re.MULTILINE))
    assert 0 < int(re.search(r"(\d+) steps lay after", out).group(1)) <= 2 * 5
    assert 1e-5 > float(re.search(r"by at most (\S+) of theirs", out).group(1))


def test_kfold_is_a_comprehension_over_pipelines(tmp_path):
    out = run(tmp_path, "examples/kfold.py")
    assert 5 == len(re.findall(r"^fold \d: accuracy 9\d", out, re.MULTILINE))


def test_a_corpus_is_prepared_in_parallel_and_an_interruption_costs_only_what_is_missing(tmp_path):
    out = run(tmp_path, "examples/corpus.py", "5")
    saved, files = map(
        int, re.search(r"interrupted \(KeyboardInterrupt\); (\d+) of (\d+) files are saved", out).groups()
    )
    assert 0 < saved < files
    assert f"prepared the other {files - saved} files in " in out
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+) on val", out)]
    assert losses[-1] < losses[0]


def test_the_digits_are_learned_under_lightning_and_resumed_exactly(tmp_path):
    assert len((ROOT / "examples" / "lightning_digits.py").read_text(encoding="utf-8").splitlines()) < 60
    out = run(tmp_path, "examples/lightning_digits.py")
    assert "stopped in epoch 2 after 640 examples" in out
    assert "resumed with exactly the next batch: True" in out
    assert 0.95 < float(re.search(r"accuracy ([\d.]+)% on test", out).group(1)) / 100


def test_packed_corpora_are_mixed_and_pretrained_and_resumed_exactly_on_another_number_of_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = run(tmp_path, "examples/pretrain.py", "--steps", "16")
    assert "one rank saw 128 sequences; two ranks saw 128" in out
    assert "these are exactly the 128 that were left, each in its step: True" in out
    assert "together they are the run that nobody stopped: True" in out
    counts = [int(count) for count in re.findall(r"(\d+) of (?:code|text) \(", out)]
    assert all(abs(seen - share) < 2 for seen, share in zip(counts, [134.4, 57.6, 19.2, 44.8], strict=True)), counts
    documents, begun = re.search(r"^([\d,]+) documents, and ([\d,]+) places", out, re.MULTILINE).groups()
    assert documents == begun
    assert 0.999 < float(re.search(r"full to ([\d.]+)%", out).group(1)) / 100
    before, after = (float(loss) for loss in re.findall(r"([\d.]+) on val_code", out))
    assert after < before


def steps(page):
    """What a page asks of a reader: files to save, Python and shell to run, each with the output that it shows.

    A block that imports fdm begins a script, and those after it go on with it. A title that ends in .py names a file.
    """
    found = []
    for language, title, code in FENCE.findall(page):
        if title.startswith(NOT_RUN):
            continue
        if title.endswith(".py"):
            found.append((title, code, []))
        elif language == "python" and found and found[-1][0] == "python" and "\nimport fdm\n" not in f"\n{code}":
            found[-1] = ("python", f"{found[-1][1]}\n{code}", found[-1][2])
        elif language in ("python", "sh"):
            found.append((language, code, []))
        elif language == "text":
            found[-1][2].extend(code.splitlines())
    return found


def follow(page, tmp_path, **environment):
    """Do as a page says in an empty folder, compare what it shows with what comes, and return all that was printed."""
    environment = {**os.environ, "FDM_STORE": str(tmp_path / "store"), "PYTHONPATH": str(ROOT), **environment}
    printed = []
    for kind, code, shown in steps(page):
        if kind.endswith(".py"):
            (tmp_path / kind).write_text(code, encoding="utf-8")
            continue
        if kind == "sh" and sys.platform == "win32":
            continue
        script = tmp_path / ("commands.sh" if kind == "sh" else "try_it.py")
        script.write_text(SHELL + code if kind == "sh" else code, encoding="utf-8")
        ran = subprocess.run(
            ["bash", script] if kind == "sh" else [sys.executable, script],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**environment, "PYTHON": sys.executable},
        )
        assert 0 == ran.returncode, ran.stdout + ran.stderr
        missing = [line for line in shown if line.rstrip() not in map(str.rstrip, ran.stdout.splitlines())]
        assert [] == missing, ran.stdout
        printed.append(ran.stdout)
    return "".join(printed)


def needed(page):
    imported = set(re.findall(r"^(?:import|from) (\w+)", "\n".join(code for _, code, _ in steps(page)), re.MULTILINE))
    return [name for name in OPTIONAL if name in imported]


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if steps(page) and name != "speed.md"])
def test_a_page_can_be_followed_from_top_to_bottom(name, tmp_path):
    needs = needed(PAGES[name])
    missing = [package for package in needs if find_spec(package) is None]
    if missing:
        pytest.skip(f"{name} needs {', '.join(missing)}")
    follow(PAGES[name], tmp_path, **({} if needs else {"PYTHONWARNINGS": "error"}))  # others may warn as they like


def test_the_page_on_speed_tells_what_limits(tmp_path):
    out = follow(PAGES["speed.md"], tmp_path, PYTHONWARNINGS="error")
    assert re.search(r"^2 augment random_flip, each example +[\d.]+ +\d+% ", out, re.MULTILINE)
    assert "{'workers': 2} gives the same batches" in out
    assert out.splitlines()[-1].endswith("torch.Size([16, 1024])")


@pytest.mark.parametrize("name", PAGES)
def test_blocks_are_run_or_say_what_they_would_need(name):
    blocks = [(language, title) for language, title, _ in FENCE.findall(PAGES[name]) if language in ("python", "sh")]
    assert len(blocks) == len(re.findall(r"^```(?:python|sh)\b", PAGES[name], re.MULTILINE))
    assert [] == [title for _, title in blocks if title and not title.endswith(".py") and not title.startswith(NOT_RUN)]


def anchors(page):
    """The anchors of a page's headings, as the site makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def links(page):
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page)) if "://" not in link]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_page_and_a_heading(name):
    for link in links(PAGES[name]):
        path, _, anchor = link.partition("#")
        target = (DOCS / name).parent / path if path else DOCS / name
        assert target.is_file(), link
        page = PAGES[target.resolve().relative_to(DOCS.resolve()).as_posix()]
        assert not anchor or anchor in anchors(page), link


def test_every_link_of_the_readme_leads_somewhere():
    assert [] == [link for link in links(README) if not (ROOT / link.partition("#")[0]).exists()]


def test_every_page_is_in_the_navigation():
    navigation = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(navigation)) == len(navigation)
    assert set(PAGES) == set(navigation)


def test_every_public_name_is_in_the_reference():
    named = [name for page in PAGES.values() for name in re.findall(r"^::: fdm\.(\w+)$", page, re.MULTILINE)]
    assert sorted(named) == sorted({*fdm.__all__, "lightning", "ray", "testing"})


@pytest.mark.parametrize("name", PAGES)
def test_tests_and_benchmarks_that_a_page_names_are_there(name):
    for file, test in re.findall(r"`((?:tests|benchmarks|examples)/[\w/]+\.py)(?:::(\w+))?`", PAGES[name]):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in text, f"{file}::{test}"


def test_every_law_and_promise_has_a_test_and_every_cell_of_the_comparison_a_source():
    for row in (*rows(PAGES["laws.md"]), *rows(PAGES["trust.md"])):
        assert "`tests/" in row[-1], row
    page = PAGES["comparison.md"]
    sources = set(re.findall(r"^\[([\w-]+)\]: https://", page, re.MULTILINE))
    cited = set(re.findall(r"\]\[([\w-]+)\]", page))
    assert sources == cited
    notes = set(re.findall(r"^(\[\^\d+\]): `(?:tests|benchmarks)/", page, re.MULTILINE))
    for row in rows(page):
        assert [] == [cell for cell in row[1:] if not re.search(r"\]\[[\w-]+\]|\[\^\d+\]", cell)]
        assert set(re.findall(r"\[\^\d+\]", "".join(row))) <= notes


def rows(page):
    """The rows of a page's tables, without their headings, as cells."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    rules = [number for number, line in enumerate(lines) if set(line) <= set("|-: ")]
    heads = {number - 1 for number in rules} | set(rules)
    return [line.strip("|").split("|") for number, line in enumerate(lines) if number not in heads]


def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("mkdocs", reason="the site needs the extra docs")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert 0 == ran.returncode, ran.stderr
    assert "WARNING" not in ran.stderr
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) >= len(PAGES)
    remote = re.compile(r'<(?:script|link rel="stylesheet")[^>]*(?:src|href)="(?:https?:)?//')
    assert [] == [page[:60] for page in pages if remote.search(page)]
