"""What ``register(models=...)`` states reaches each of LiteLLM's answers that frameworks go by."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import litellm
import pytest
from litellm import Router, Usage
from litellm.types.utils import PromptTokensDetailsWrapper

from litellm_sagemaker_openai import register
from litellm_sagemaker_openai.capabilities import Fact
from litellm_sagemaker_openai.litellm_seams import model_info, reasoning_effort
from litellm_sagemaker_openai.local.server import Running
from tests.conftest import MESSAGES

pytestmark = pytest.mark.usefixtures("no_known_models")

PROVIDER = "sagemaker_openai"
ARN = "arn:aws:sagemaker:us-west-2:123456789012:endpoint/my-endpoint"
MODELS = ["my-endpoint", "shared-endpoint/coder", ARN]
STATED = {
    "supports_function_calling": True,
    "supports_parallel_function_calling": True,
    "supports_reasoning": True,
    "supports_response_schema": True,
    "supports_vision": False,
    "max_input_tokens": 32768,
    "max_output_tokens": 4096,
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
}


@pytest.mark.parametrize("prefix", ["", f"{PROVIDER}/"], ids=["stated without the prefix", "with it"])
@pytest.mark.parametrize("model", MODELS, ids=["endpoint", "component", "ARN"])
class TestLiteLLMIsTold:
    @pytest.fixture(autouse=True)
    def stated(self, no_known_models: None, prefix: str, model: str) -> None:
        register(models={f"{prefix}{model}": STATED})

    @pytest.mark.parametrize("asked", [("{}", PROVIDER), (f"{PROVIDER}/{{}}", None)], ids=["apart", "in one"])
    def test_what_it_can_do(self, model: str, asked: tuple[str, str | None]) -> None:
        name, provider = asked[0].format(model), asked[1]
        ask: dict[str, Any] = {"model": name, "custom_llm_provider": provider}
        assert litellm.supports_function_calling(**ask)
        assert litellm.supports_parallel_function_calling(**ask)
        assert litellm.supports_response_schema(**ask)
        assert litellm.supports_reasoning(**ask)
        assert not litellm.supports_vision(**ask)
        assert not litellm.supports_audio_input(**ask)  # is not stated
        info = litellm.get_model_info(**ask)
        assert {name: info[name] for name in STATED} == STATED  # type: ignore[literal-required]
        assert (info["mode"], info["litellm_provider"]) == ("chat", PROVIDER)

    def test_its_limits_and_its_price(self, model: str) -> None:
        assert litellm.get_max_tokens(f"{PROVIDER}/{model}") == 4096
        cost = litellm.cost_per_token(f"{PROVIDER}/{model}", prompt_tokens=1000, completion_tokens=100)
        assert cost == pytest.approx((1e-3, 2e-4))


def test_an_answers_price(runtime: Running) -> None:
    register(models={"my-endpoint": STATED})
    answer: Any = litellm.completion(f"{PROVIDER}/my-endpoint", MESSAGES)
    price = answer.usage.prompt_tokens * 1e-6 + answer.usage.completion_tokens * 2e-6
    assert litellm.completion_cost(answer) == pytest.approx(price)


@pytest.mark.filterwarnings("ignore:Router.get_model_group_info is deprecated")  # since LiteLLM 1.110
@pytest.mark.parametrize("first", ["registered", "routed"])
def test_a_router(first: str) -> None:
    deployment = {"model_name": "m", "litellm_params": {"model": f"{PROVIDER}/my-endpoint"}}
    router = Router([deployment]) if first == "routed" else None
    register(models={"my-endpoint": STATED})
    group = (router or Router([deployment])).get_model_group_info("m")
    assert group is not None
    assert (group.max_input_tokens, group.supports_function_calling, group.supports_vision) == (32768, True, False)


def test_nothing_is_warned_of(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    litellm.suppress_debug_info = False  # LiteLLM's default; the fixture `aws` sets it for each test
    with caplog.at_level(logging.WARNING, "LiteLLM"):
        register(models={"my-endpoint": STATED})
        assert (caplog.records, capsys.readouterr().out) == ([], "")
        named = {f"{PROVIDER}/other": {"input_cost_per_token": 1e-6, "litellm_provider": PROVIDER}}
        litellm.register_model(named, persist_across_reloads=False)
        assert "register_model" in caplog.text  # as LiteLLM alone does


@pytest.mark.parametrize("alone", [False, True], ids=["registered", "with LiteLLM alone"])
def test_tokens_from_the_containers_cache_cost_what_others_do(alone: bool) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    if alone:
        litellm.register_model({f"{PROVIDER}/my-endpoint": {**prices, "litellm_provider": PROVIDER}})
    else:
        register(models={"my-endpoint": prices})
    details = PromptTokensDetailsWrapper(cached_tokens=900)
    usage = Usage(prompt_tokens=1000, completion_tokens=0, total_tokens=1000, prompt_tokens_details=details)
    answer = litellm.ModelResponse(model="my-endpoint", usage=usage)
    assert litellm.completion_cost(answer, model=f"{PROVIDER}/my-endpoint") == pytest.approx(1e-3)


def test_a_context_is_no_limit_of_an_answer() -> None:
    """Clients ask for an answer of so many tokens, and a container refuses that beside any prompt."""
    register(models={"my-endpoint": {"max_input_tokens": 8}})
    info = litellm.get_model_info(f"{PROVIDER}/my-endpoint")
    assert (info["max_input_tokens"], info["max_output_tokens"]) == (8, None)
    with pytest.raises(Exception, match="isn't mapped"):
        litellm.get_max_tokens(f"{PROVIDER}/my-endpoint")


def test_a_name_that_litellm_knows_claims_nothing() -> None:
    """LiteLLM looks at its own gpt-4o for what is not said of this provider's."""
    litellm.register_model({f"{PROVIDER}/gpt-4o": {"litellm_provider": PROVIDER, "max_input_tokens": 8}})
    assert litellm.supports_vision(f"{PROVIDER}/gpt-4o")
    register(models={"gpt-4o": {"max_input_tokens": 8, "supports_function_calling": True}})
    assert not litellm.supports_vision(f"{PROVIDER}/gpt-4o")
    assert litellm.supports_function_calling(f"{PROVIDER}/gpt-4o")
    assert litellm.get_model_info("gpt-4o")["litellm_provider"] == "openai"
    assert litellm.supports_vision("gpt-4o")


@pytest.mark.parametrize("name", ["claude-opus-9", "my-gpus/claude-haiku-4-5", "gpt-5-internal", "gemini-3-pro"])
def test_a_name_that_litellm_has_a_rule_for_claims_nothing(name: str) -> None:
    """LiteLLM guesses by parts of a name what a model can do, and writes that into its entry."""
    register(models={name: {"max_input_tokens": 8}})
    register(models={name: {"supports_function_calling": True}})
    entry = litellm.model_cost[f"{PROVIDER}/{name}"]
    claimed = {each for each, value in entry.items() if value is True}
    assert claimed == {"supports_function_calling"}
    assert not litellm.supports_reasoning(f"{PROVIDER}/{name}")
    assert not litellm.supports_vision(f"{PROVIDER}/{name}")
    info = litellm.get_model_info(f"{PROVIDER}/{name}")
    assert (info["max_input_tokens"], info["max_output_tokens"]) == (8, None)


def test_what_a_further_call_states_is_added() -> None:
    register(models={"my-endpoint": {"max_input_tokens": 8}})
    register(models={"my-endpoint": {"supports_vision": True}})
    register()
    info = litellm.get_model_info(f"{PROVIDER}/my-endpoint")
    assert (info["max_input_tokens"], info["supports_vision"]) == (8, True)


def test_what_a_further_call_does_not_state_stays() -> None:
    cached = {"input_cost_per_token": 1e-6, "cache_read_input_token_cost": 1e-7}
    register(models={"gpt-4o": {"supports_vision": True}, "e": {"mode": "embedding"}, "cached": cached})
    more: dict[str, Any] = {
        "gpt-4o": {"max_input_tokens": 8},
        "e": {"max_input_tokens": 8},
        "cached": {"input_cost_per_token": 2e-6},
    }
    register(models=more)
    assert litellm.supports_vision(f"{PROVIDER}/gpt-4o")
    assert litellm.get_model_info(f"{PROVIDER}/e")["mode"] == "embedding"
    info = litellm.get_model_info(f"{PROVIDER}/cached")
    assert (info["input_cost_per_token"], info["cache_read_input_token_cost"]) == (2e-6, 1e-7)


def test_threads(switch_often: None) -> None:
    """Another may add to LiteLLM's list, as a Router does, while this one reads it."""
    names = [f"e{number}" for number in range(60)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: register(models={name: {"supports_vision": True}}), names))
        more = ["supports_reasoning", "supports_audio_input"]
        list(pool.map(lambda name: register(models={"e0": {name: True}}), more))
    assert all(litellm.supports_vision(f"{PROVIDER}/{name}") for name in names)
    assert litellm.supports_reasoning(f"{PROVIDER}/e0")
    assert litellm.supports_audio_input(f"{PROVIDER}/e0")


@pytest.fixture
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_a_model_with_and_without_the_prefix_is_one() -> None:
    register(models={"e": {"supports_vision": True}, f"{PROVIDER}/e": {"supports_reasoning": True}})
    assert litellm.supports_vision(f"{PROVIDER}/e")
    assert litellm.supports_reasoning(f"{PROVIDER}/e")


def test_a_list_of_models_that_is_loaded_anew_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the proxy's reload of LiteLLM's prices."""
    fresh = deepcopy(dict(litellm.model_cost))
    register(models={"my-endpoint": {"supports_vision": True}})
    register(models={"my-endpoint": {"supports_reasoning": True}})
    with monkeypatch.context() as patched:
        patched.setattr(litellm, "model_cost", fresh)
        litellm.utils.reapply_runtime_model_cost_registrations()
        assert fresh[f"{PROVIDER}/my-endpoint"]["supports_vision"]
        assert reasoning_effort.reasons("my-endpoint")


def test_facts_as_describe_gives_them() -> None:
    context = Fact(32768, "SM_VLLM_MAX_MODEL_LEN=32768")
    register(models={"my-endpoint": {"max_input_tokens": context, "supports_vision": True}})
    info = litellm.get_model_info(f"{PROVIDER}/my-endpoint")
    assert (info["max_input_tokens"], info["supports_vision"]) == (32768, True)


def test_an_embedding_model() -> None:
    register(models={"my-endpoint": {"mode": "embedding", "output_vector_size": 384, "max_input_tokens": 512}})
    info = litellm.get_model_info(f"{PROVIDER}/my-endpoint")
    assert (info["mode"], info["output_vector_size"]) == ("embedding", 384)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"e": {"supports_function_caling": True}}, "models['e']: 'supports_function_caling' is none of LiteLLM's names"
         " for what a model can do; write 'supports_function_calling'?"),
        ({"e": {"supports_vision": "yes"}}, "supports_vision must be True or False, and is 'yes'"),
        ({"e": {"supports_vision": 1}}, "supports_vision must be True or False, and is 1"),
        ({"e": {"max_input_tokens": "32k"}}, "max_input_tokens must be a whole number above 0, and is '32k'"),
        ({"e": {"max_input_tokens": True}}, "max_input_tokens must be a whole number above 0, and is True"),
        ({"e": {"input_cost_per_token": -1}}, "input_cost_per_token must be a number of US dollars, and not below 0"),
        ({"e": {"mode": "rerank"}}, "mode must be 'chat' or 'embedding', and is 'rerank'"),
        ({"e": {"litellm_provider": "openai"}}, "litellm_provider must be 'sagemaker_openai', and is 'openai'"),
        ({"e": {"input_cost_per_token": float("inf")}}, "input_cost_per_token must be a number of US dollars"),
        ({"e": None}, "models['e'] is None; write {\"my-endpoint\": {\"supports_function_calling\": True}}"),
        ({3: {}}, "models[3] is {}; write {\"my-endpoint\": {\"supports_function_calling\": True}}"),
        ({"a/b/c": {}}, "models['a/b/c']: model 'a/b/c' has 3 parts"),
        ({"*": {}}, "models['*']: "),
    ],
)  # fmt: skip
def test_mistakes(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        register(models={"my-endpoint": STATED, **stated})
    with pytest.raises(Exception, match="isn't mapped"):  # none is registered where one is wrong
        litellm.get_model_info(f"{PROVIDER}/my-endpoint")


def test_any_name_is_taken_where_litellm_has_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_info, "names_of_model_info", frozenset)
    register(models={"my-endpoint": {"supports_something_new": True}})
    assert litellm.model_cost[f"{PROVIDER}/my-endpoint"]["supports_something_new"]


class TestReasoningEffort:
    ASKED: dict[str, Any] = {"messages": MESSAGES, "reasoning_effort": "low"}  # noqa: RUF012

    async def test_of_a_model_that_reasons(self, runtime: Running) -> None:
        register(models={model: {"supports_reasoning": True} for model in MODELS})
        for model in MODELS:
            answer: Any = litellm.completion(f"{PROVIDER}/{model}", **self.ASKED)
            assert answer.choices[0].message.reasoning_content
            answer = await litellm.acompletion(f"{PROVIDER}/{model}", **self.ASKED)
            assert answer.choices[0].message.reasoning_content
            chunks: Any = litellm.completion(f"{PROVIDER}/{model}", **self.ASKED, stream=True, drop_params=True)
            assert any(getattr(each.choices[0].delta, "reasoning_content", None) for each in chunks)

    @pytest.mark.parametrize("stated", [{}, {"supports_reasoning": False}])
    def test_of_one_that_does_not(self, runtime: Running, stated: dict[str, Any]) -> None:
        register(models={"my-endpoint": stated})
        with pytest.raises(litellm.UnsupportedParamsError, match="reasoning_effort"):
            litellm.completion(f"{PROVIDER}/my-endpoint", **self.ASKED)
        with pytest.raises(litellm.UnsupportedParamsError, match="reasoning_effort"):
            litellm.completion("other_provider/my-endpoint", custom_llm_provider="deepinfra", **self.ASKED)

    async def test_in_a_router_the_deployments_model_info_says_it(self, runtime: Running) -> None:
        deployment = {"model_name": "m", "litellm_params": {"model": f"{PROVIDER}/shared-endpoint/reviewer"}}
        router = Router([{**deployment, "model_info": {"supports_reasoning": True}}])
        answer: Any = await router.acompletion("m", **self.ASKED)
        assert answer.choices[0].message.reasoning_content

    def test_litellm_alone_refuses_it(self, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        register(models={"my-endpoint": {"supports_reasoning": True}})
        monkeypatch.setattr(litellm.main, "get_optional_params", litellm.main.get_optional_params.__wrapped__)  # type: ignore[attr-defined]
        with pytest.raises(litellm.UnsupportedParamsError, match="reasoning_effort"):
            litellm.completion(f"{PROVIDER}/my-endpoint", **self.ASKED)

    def test_installed_once(self) -> None:
        installed = litellm.main.get_optional_params
        reasoning_effort.install()
        assert litellm.main.get_optional_params is installed
