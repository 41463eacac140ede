"""The README and the examples run as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parent.parent
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


def test_the_page_on_preparing_runs_where_it_needs_no_cluster(tmp_path):
    page = (ROOT / "docs" / "prepare.md").read_text(encoding="utf-8")
    snippets = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "import tempfile" in code]
    assert len(snippets) > 2
    for number, code in enumerate(snippets):
        script = tmp_path / f"snippet{number}.py"
        script.write_text(code, encoding="utf-8")
        run(tmp_path, str(script))


def test_the_page_on_lightning_runs_from_top_to_bottom(tmp_path):
    page = (ROOT / "docs" / "lightning.md").read_text(encoding="utf-8")
    script = tmp_path / "page.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), encoding="utf-8")
    run(tmp_path, str(script))


def test_the_digits_are_learned_under_lightning_and_resumed_exactly(tmp_path):
    assert len((ROOT / "examples" / "lightning_digits.py").read_text(encoding="utf-8").splitlines()) < 60
    out = run(tmp_path, "examples/lightning_digits.py")
    assert "stopped in epoch 2 after 640 examples" in out
    assert "resumed with exactly the next batch: True" in out
    assert 0.95 < float(re.search(r"accuracy ([\d.]+)% on test", out).group(1)) / 100


def test_the_page_on_speed_runs_from_top_to_bottom(tmp_path):
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    script = tmp_path / "speed.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), encoding="utf-8")
    out = run(tmp_path, str(script))
    assert re.search(r"^2 augment random_flip, each example +[\d.]+ +\d+% ", out, re.MULTILINE)
    assert "{'workers': 2} gives the same batches" in out
    assert out.splitlines()[-1].endswith("torch.Size([16, 1024])")


def test_the_page_on_evaluation_runs_from_top_to_bottom(tmp_path):
    page = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    script = tmp_path / "evaluate.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), encoding="utf-8")
    out = run(tmp_path, str(script))
    assert "over all examples 4.5, as the mean of batch means 5.17" in out
    assert out.splitlines()[-1].startswith("Table(10 rows: id int64, logits float32 2")
