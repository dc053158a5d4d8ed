"""Which model answers, and how one takes another's place, with engines that a test holds."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from scene.errors import ConfigurationError, ServerError, UnknownModelError
from serve import models as models_module
from serve.answer import Answer, Options
from serve.frame import EncodedFrame
from serve.model import Model
from serve.models import Models
from serve.pipeline import Pipeline
from serve.turns import Member
from tests.serve.conftest import PATIENCE_S, GatedEngine
from tests.serve.tiny_model import street

RED = EncodedFrame.raw(street((0, (32, 16, 64, 48))))


@pytest_asyncio.fixture
async def models() -> AsyncIterator[Models]:
    made = Models()
    yield made
    await made.close()


def version_of(tiny: Model, version: int, name: str = "tiny", engine: GatedEngine | None = None) -> Pipeline:
    return Pipeline(Model(replace(tiny.artifact, name=name, version=version), engine or tiny.engine))


async def answer(models: Models, options: Options | None = None) -> Answer:
    options = options or Options()
    admitted = await models.admit(options, Member())
    return await admitted.answer(RED, options)


async def entered(engine: GatedEngine) -> None:
    await asyncio.to_thread(engine.wait_entered)


async def test_before_anything_is_loaded_a_call_is_told_so(models: Models) -> None:
    assert list(models) == []
    assert not models.holds("tiny", 1)
    with pytest.raises(ServerError, match="still loading its model"):
        await answer(models)


async def test_the_current_version_answers_and_others_by_their_number(models: Models, tiny: Model) -> None:
    assert models.switch(version_of(tiny, 1)) == []
    assert models.switch(version_of(tiny, 2), keep_others=True) == []
    assert (await answer(models)).model_version == 2
    assert (await answer(models, Options(model_version=1))).model_version == 1
    assert [(loaded.label, current) for loaded, current in models] == [
        ("tiny version 1", False),
        ("tiny version 2", True),
    ]
    assert models.make_current("tiny", 1, keep_others=True) == []
    assert (await answer(models)).model_version == 1
    with pytest.raises(UnknownModelError, match="model_version: expected 1, 2 or 0 for tiny, but 3 came"):
        await answer(models, Options(model_version=3))


async def test_of_several_names_without_a_default_one_must_be_named(models: Models, tiny: Model) -> None:
    models.switch(version_of(tiny, 1))
    models.switch(version_of(tiny, 4, name="other"))
    assert (await answer(models, Options(model_name="other"))).model_version == 4
    with pytest.raises(UnknownModelError, match="model_name: expected one of other, tiny, but nothing came"):
        await answer(models)


async def test_the_default_answers_calls_without_a_name_as_long_as_it_is_loaded(tiny: Model) -> None:
    models = Models("tiny")
    models.switch(version_of(tiny, 4, name="other"))
    assert (await answer(models)).model_name == "other", "the only one"
    models.switch(version_of(tiny, 1))
    models.switch(version_of(tiny, 2, name="another"))
    assert (await answer(models)).model_name == "tiny"
    with models.lease() as pipeline:
        assert pipeline.model.artifact.name == "tiny"
    with pytest.raises(UnknownModelError, match="expected another or other or tiny or nothing, but 'huge' came"):
        await answer(models, Options(model_name="huge"))
    models.retire("tiny")
    with pytest.raises(UnknownModelError, match="model_name: expected one of another, other, but nothing came"):
        await answer(models)
    with pytest.raises(UnknownModelError, match="model_name: expected another or other, but 'tiny' came"):
        await answer(models, Options(model_name="tiny"))
    models.switch(version_of(tiny, 3))
    assert (await answer(models)).model_version == 3
    await models.close()


async def test_a_switch_retires_the_same_version_and_all_that_are_not_kept(models: Models, tiny: Model) -> None:
    for version in (1, 2, 3):
        models.switch(version_of(tiny, version), keep_others=True)
    (same,) = models.switch(version_of(tiny, 2), keep_others=True)
    assert same.label == "tiny version 2"
    assert models.holds("tiny", 2)
    await same.drain(PATIENCE_S)
    retired = models.switch(version_of(tiny, 4))
    assert [each.label for each in retired] == ["tiny version 1", "tiny version 3", "tiny version 2"]
    assert [loaded.label for loaded, _ in models] == ["tiny version 4"]
    for each in retired:
        await each.drain(PATIENCE_S)


async def test_a_frame_in_work_is_answered_by_its_own_version_before_that_is_closed(
    models: Models, tiny: Model, gated: GatedEngine
) -> None:
    models.switch(version_of(tiny, 1, engine=gated))
    in_work = asyncio.create_task(answer(models))
    await entered(gated)
    (retired,) = models.switch(version_of(tiny, 2))
    draining = asyncio.create_task(retired.drain(PATIENCE_S))
    assert (await answer(models)).model_version == 2, "the next frame is answered at once"
    assert not draining.done()
    assert not retired.pipeline.closed
    gated.open()
    assert (await in_work).model_version == 1
    await draining
    assert retired.pipeline.closed


async def test_who_waits_for_a_turn_at_a_retired_version_is_answered_by_the_new_one(
    models: Models, tiny: Model, gated: GatedEngine
) -> None:
    models.switch(version_of(tiny, 1, engine=gated))
    in_work = asyncio.create_task(answer(models))
    await entered(gated)
    waiting = [asyncio.create_task(answer(models)) for _ in range(20)]
    await asyncio.sleep(0)
    (retired,) = models.switch(version_of(tiny, 2))
    assert {(await each).model_version for each in waiting[10:]} == {2}
    assert not in_work.done()
    gated.open(20)
    await retired.drain(PATIENCE_S)
    assert gated.runs < 10


async def test_who_waits_for_a_turn_at_a_version_by_its_number_is_told_that_it_is_gone(
    models: Models, tiny: Model, gated: GatedEngine
) -> None:
    models.switch(version_of(tiny, 1, engine=gated))
    pinned = Options(model_version=1)
    in_work = asyncio.create_task(answer(models, pinned))
    await entered(gated)
    waiting = [asyncio.create_task(answer(models, pinned)) for _ in range(20)]
    await asyncio.sleep(0)
    (retired,) = models.switch(version_of(tiny, 2))
    with pytest.raises(UnknownModelError, match="model_version: expected 2 or 0 for tiny, but 1 came"):
        await waiting[-1]
    gated.open(20)
    assert (await in_work).model_version == 1
    await retired.drain(PATIENCE_S)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_version_that_does_not_finish_in_time_holds_up_nobody(
    models: Models, tiny: Model, gated: GatedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    models.switch(version_of(tiny, 1, engine=gated))
    stuck = asyncio.create_task(answer(models))
    await entered(gated)
    (retired,) = models.switch(version_of(tiny, 2))
    await retired.drain(0.05)
    assert "tiny version 1 has not answered 1 frames within 0.05 s; they fail" in caplog.messages
    assert (await answer(models)).model_version == 2
    gated.open()
    (outcome,) = await asyncio.gather(stuck, return_exceptions=True)
    told = isinstance(outcome, ServerError) and "let go before this frame was answered" in str(outcome)
    assert told or (isinstance(outcome, Answer) and outcome.model_version == 1), "it came to an end, late"


async def test_a_caller_who_leaves_while_a_version_is_retired_has_left(
    models: Models, tiny: Model, gated: GatedEngine
) -> None:
    models.switch(version_of(tiny, 1, engine=gated))
    in_work = asyncio.create_task(answer(models))
    await entered(gated)
    waiting = [asyncio.create_task(answer(models)) for _ in range(20)]
    await asyncio.sleep(0)
    (retired,) = models.switch(version_of(tiny, 2))
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting, timeout=PATIENCE_S)
    assert all(each.cancelled() for each in waiting)
    gated.open(20)
    await in_work
    await retired.drain(PATIENCE_S)
    assert retired.leases == 0


async def test_what_is_retired_is_told_or_refused(models: Models, tiny: Model) -> None:
    models.switch(version_of(tiny, 1))
    models.switch(version_of(tiny, 2), keep_others=True)
    with pytest.raises(ConfigurationError, match="tiny version 2 is current; deploy another version before"):
        models.retire("tiny", 2)
    with pytest.raises(ConfigurationError, match="tiny is the last model of this server; deploy another one"):
        models.retire("tiny")
    for name, version in (("tiny", 3), ("other", 0), ("other", 1)):
        with pytest.raises(UnknownModelError, match=r"expected what is loaded \(tiny version 1, tiny version 2\)"):
            models.retire(name, version)
    with pytest.raises(UnknownModelError, match="tiny version 3 is not loaded"):
        models.make_current("tiny", 3)
    assert [each.label for each in models.retire("tiny", 1)] == ["tiny version 1"]
    models.switch(version_of(tiny, 4, name="other"))
    assert [each.label for each in models.retire("tiny", 2)] == ["tiny version 2"]
    assert (await answer(models)).model_name == "other"


async def test_a_stopping_server_takes_neither_calls_nor_models(models: Models, tiny: Model) -> None:
    models.switch(version_of(tiny, 1))
    await models.close()
    with pytest.raises(ServerError, match="the server is stopping"):
        await answer(models)
    with pytest.raises(ServerError, match="the server is stopping"):
        models.switch(version_of(tiny, 2))


async def test_an_engine_that_hangs_keeps_no_server_from_stopping(
    models: Models, tiny: Model, gated: GatedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models_module, "_CLOSE_S", 0.5)
    others = version_of(tiny, 1, name="other")
    models.switch(version_of(tiny, 1, engine=gated))
    models.switch(others)
    stuck = asyncio.create_task(answer(models, Options(model_name="tiny")))
    await entered(gated)
    await models.close()
    assert gated.finished == 0
    assert others.closed
    assert "a model has not come to an end within 0.5 s; it is left behind" in caplog.messages
    gated.open()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_a_retired_model_is_freed_at_once(models: Models, tiny: Model) -> None:
    """Without the collector: a network of hundreds of megabytes does not wait for it."""
    engines = weakref.WeakSet[GatedEngine]()

    def with_engine(version: int) -> Pipeline:
        engine = GatedEngine(tiny.engine.run)
        engine.open(100)
        engines.add(engine)
        return version_of(tiny, version, engine=engine)

    gc.disable()
    kept = []
    try:
        models.switch(with_engine(1))
        for version in (2, 3, 3):
            kept.append(await models.admit(Options(), Member()))  # as by a stream that waits for its next turn
            await kept[-1].answer(RED, Options())
            kept.append(await models.admit(Options(), Member()))
            kept[-1].release()
            await asyncio.gather(*(answer(models) for _ in range(9)))
            waiting = [asyncio.create_task(answer(models)) for _ in range(9)]
            await asyncio.sleep(0)
            (retired,) = models.switch(with_engine(version))
            await retired.drain(PATIENCE_S)
            await asyncio.gather(*waiting)
            del retired, waiting
            assert len(engines) == 1
    finally:
        gc.enable()
