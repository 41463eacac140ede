"""Edits of a user's code, judged by the fingerprint: stale data begins where one of them is missed."""

import importlib
import itertools
import sys

import edits
import more_edits
import pytest

import fdm


P = "p = fdm.pipeline(fdm.clean(read))\n"


def rows(text):
    """The edits by name: their modules, and what becomes what in these."""
    found = {}
    for block in text.split("\n=== ")[1:]:
        title, _, source = block.partition("\n")
        name, _, change = title.partition(": ")
        assert name not in found, name
        old, new = change.replace("\\n", "\n").split(" => ")
        assert source.count(old) == 1, (name, source.count(old))
        found[name] = source, old, new
    return found


MATTERING, HARMLESS, REFUSED = (
    rows(getattr(edits, name)) | rows(getattr(more_edits, name)) for name in ("MATTERING", "HARMLESS", "REFUSED")
)


@pytest.fixture
def judged(tmp_path):
    """A function from modules to the fingerprint of their `p`, and to what its function returns."""
    numbers = itertools.count()

    def judge(text):
        folder = tmp_path / str(next(numbers))
        main, *others = text.split("--- ")
        for part in (f"main.py\n{edits.HEAD}{main}{'' if 'p = fdm' in main else P}", *others):
            name, _, source = part.partition("\n")
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for package in path.relative_to(folder).parents[:-1]:
                (folder / package / "__init__.py").touch()
            path.write_text(source)
        before = set(sys.modules)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            module = importlib.import_module("main")
            prints = fdm.fingerprint(module.p)
            stage = module.p.stages[0]
            said = repr(
                module.read() if stage.function.name != "read" and hasattr(module, "read") else stage.function.bound()()
            )
            return prints, fdm.fingerprint(module.p), said
        finally:
            sys.path.remove(str(folder))
            for name in set(sys.modules) - before | {"main"}:
                if str(getattr(sys.modules.get(name), "__file__", "")).startswith(str(tmp_path)):
                    del sys.modules[name]

    return judge


def test_the_table_has_600_edits_that_matter_and_100_that_do_not():
    assert len(MATTERING) >= 600
    assert len(HARMLESS) >= 100


@pytest.mark.parametrize("source, old, new", MATTERING.values(), ids=MATTERING)
def test_an_edit_that_matters_changes_the_fingerprint(judged, source, old, new):
    before, again, said = judged(source)
    assert before == again == judged(source)[0]
    after, _, says = judged(source.replace(old, new))
    assert said != says
    assert before != after


@pytest.mark.parametrize("source, old, new", HARMLESS.values(), ids=HARMLESS)
def test_an_edit_that_does_not_matter_does_not_change_the_fingerprint(judged, source, old, new):
    before, again, said = judged(source)
    after, _, says = judged(source.replace(old, new))
    assert said == says
    assert before == again == after


@pytest.mark.parametrize("name, source", [(name, source) for name, (source, *_) in REFUSED.items()], ids=REFUSED)
def test_what_cannot_be_covered_is_refused_by_name_with_the_remedy(judged, name, source):
    named = name.partition("[")[2].partition("]")[0]
    with pytest.raises(fdm.PipelineError, match=rf'\b{named}\b.*\.version\("1"\)'):
        judged(source)
    assert judged(
        source.replace("--- ", P.replace("(read)", '(read).version("1")') + "--- ", 1)
        if "--- " in source
        else source + P.replace("(read)", '(read).version("1")')
    )
