"""SageMaker with Bedrock to fall back to, in the real Router: who answers, and how one can tell."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import litellm
import pytest

from examples.bedrock import PREFIX, REASONING
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from tests.conftest import CREDENTIALS, MESSAGES, REGION, litellm_is_before
from tests.operating.bedrock import GPT_OSS, GPT_OSS_OPENAI
from tests.operating.conftest import NO_CAPACITY, MakeRouter, MakeServer, deployment, fine, on_sagemaker, text_of
from tests.scripted import Answer, Scripted, json_answer, sse

pytestmark = pytest.mark.medium(reason="makes many calls through Routers")

# LiteLLM 1.103 and 1.104 do not have the second.
BEDROCKS = {"converse": GPT_OSS} | ({} if litellm_is_before("1.105") else {"openai": GPT_OSS_OPENAI})
ROUTES = pytest.mark.parametrize("route", BEDROCKS.values(), ids=BEDROCKS)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

REFUSALS: dict[str, Any] = {
    "no capacity": NO_CAPACITY,
    "503": json_answer({"error": {"message": "not now"}}, 503),
    "429": json_answer({"error": {"message": "slow down"}}, 429),
    "connection refused": fine,
    "hang up": b"",
    "timeout": Answer([], content_type="application/json", end="stall"),
}
REFUSED_STREAMS: dict[str, Any] = {
    "an error for a first event": Answer([sse({"error": {"message": "dead", "code": 503}})]),
    "cut before a chunk": Answer([b": ping\n\n"], end="cut"),
    "reset before a chunk": Answer([], end="reset"),
    "stalled before a chunk": Answer([b": ping\n\n"], end="stall"),
    "nothing but done": Answer([sse()]),
}


def beside_bedrock(
    router_of: MakeRouter, sagemaker: dict[str, Any], bedrock: Scripted, route: str = GPT_OSS, **settings: Any
) -> Any:
    fallback = deployment(route, "bedrock", info={"id": "on-bedrock"}, aws_bedrock_runtime_endpoint=bedrock.url)
    sagemaker["model_info"] = {"id": "on-sagemaker"}
    return router_of(sagemaker, fallback, **{"fallbacks": [{"m": ["bedrock"]}], "num_retries": 0, **settings})


def served_by(answer: Any) -> tuple[str, str, int]:
    """Who answered: the deployment's id, its group, and how many fallbacks that took."""
    hidden = answer._hidden_params
    headers = hidden["additional_headers"]
    return hidden["model_id"], headers["x-litellm-model-group"], headers["x-litellm-attempted-fallbacks"]


SAGEMAKER, BEDROCK = ("on-sagemaker", "m", 0), ("on-bedrock", "bedrock", 1)


class TestWhoAnswers:
    @STREAM
    async def test_sagemaker_where_it_answers(
        self, router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
    ) -> None:
        router = beside_bedrock(router_of, on_sagemaker(servers(fine)), bedrock_server)
        answer = await router.acompletion("m", MESSAGES, stream=stream)
        assert served_by(answer) == SAGEMAKER
        assert await text_of(answer) == "SageMaker's."
        assert bedrock_server.seen == []

    @STREAM
    @ROUTES
    @pytest.mark.parametrize("refusal", REFUSALS)
    async def test_bedrock_where_sagemaker_cannot(
        self,
        router_of: MakeRouter,
        servers: MakeServer,
        bedrock_server: Scripted,
        refusal: str,
        route: str,
        stream: bool,
    ) -> None:
        server = servers(REFUSALS[refusal])
        if refusal == "connection refused":
            server.close()
        timeout: dict[str, Any] = {"timeout": 0.2} if refusal == "timeout" else {}
        router = beside_bedrock(router_of, on_sagemaker(server, **timeout), bedrock_server, route)
        answer = await router.acompletion("m", MESSAGES, stream=stream)
        assert served_by(answer) == BEDROCK
        assert await text_of(answer) == f"{PREFIX}Hello?"
        assert len(bedrock_server.seen) == 1

    @ROUTES
    @pytest.mark.parametrize("refusal", REFUSED_STREAMS)
    async def test_bedrock_where_a_stream_is_refused_before_its_first_chunk(
        self, router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, refusal: str, route: str
    ) -> None:
        timeout: dict[str, Any] = {"timeout": 0.2} if refusal.startswith("stalled") else {}
        sagemaker = on_sagemaker(servers(REFUSED_STREAMS[refusal]), **timeout)
        stream = await beside_bedrock(router_of, sagemaker, bedrock_server, route).acompletion(
            "m", MESSAGES, stream=True
        )
        assert served_by(stream) == BEDROCK
        assert await text_of(stream) == f"{PREFIX}Hello?"

    @STREAM
    def test_the_same_without_an_event_loop(
        self, router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
    ) -> None:
        router = beside_bedrock(router_of, on_sagemaker(servers(NO_CAPACITY)), bedrock_server)
        answer = router.completion("m", MESSAGES, stream=stream)
        assert served_by(answer) == BEDROCK
        text = (
            "".join(piece.choices[0].delta.content or "" for piece in answer)
            if stream
            else answer.choices[0].message.content
        )
        assert text == f"{PREFIX}Hello?"

    @STREAM
    async def test_the_larger_context_where_the_prompt_is_too_long(
        self, router_of: MakeRouter, bedrock_server: Scripted, stream: bool
    ) -> None:
        """The local runtime's container counts tokens, and refuses in vLLM's words."""
        config = RuntimeConfig(
            {"e": ()}, credentials=CREDENTIALS, region=REGION, echo=EchoConfig(context_length=50), remembered=5
        )
        with running(config) as runtime:
            sagemaker = deployment("sagemaker_openai/e", "m", api_base=runtime.url)
            router = beside_bedrock(
                router_of, sagemaker, bedrock_server, fallbacks=[], context_window_fallbacks=[{"m": ["bedrock"]}]
            )
            assert served_by(await router.acompletion("m", MESSAGES, max_tokens=5, stream=stream)) == SAGEMAKER
            long = [{"role": "user", "content": "word " * 60}]
            assert served_by(await router.acompletion("m", long, max_tokens=5, stream=stream)) == BEDROCK


class TestTheCallersOwnMistake:
    """LiteLLM 1.106.2 runs ``fallbacks`` for every exception, a 400 too, whoever the provider is."""

    MISTAKE = json_answer({"error": {"message": "temperature must be at most 2", "type": "BadRequestError"}}, 400)

    @STREAM
    async def test_is_the_containers_message_where_there_is_no_fallback(
        self, router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
    ) -> None:
        server = servers(self.MISTAKE)
        router = beside_bedrock(router_of, on_sagemaker(server), bedrock_server, fallbacks=[], num_retries=2)
        with pytest.raises(litellm.BadRequestError, match="temperature must be at most 2"):
            await router.acompletion("m", MESSAGES, stream=stream)
        assert (len(server.seen), len(bedrock_server.seen)) == (1, 0)

    @STREAM
    async def test_is_not_taken_to_bedrock_where_the_call_says_so(
        self, router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
    ) -> None:
        router = beside_bedrock(router_of, on_sagemaker(servers(self.MISTAKE)), bedrock_server)
        with pytest.raises(litellm.BadRequestError, match="temperature must be at most 2"):
            await router.acompletion("m", MESSAGES, stream=stream, disable_fallbacks=True)
        assert bedrock_server.seen == []

    @STREAM
    @pytest.mark.parametrize("model", ["sagemaker_openai/e", "hosted_vllm/e"])
    async def test_goes_to_the_fallback_as_for_every_provider(
        self, router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, model: str, stream: bool
    ) -> None:
        router = beside_bedrock(router_of, on_sagemaker(servers(self.MISTAKE), model=model), bedrock_server)
        assert served_by(await router.acompletion("m", MESSAGES, stream=stream)) == BEDROCK

    @STREAM
    async def test_comes_back_in_the_containers_words_where_the_fallback_refuses_it_too(
        self, router_of: MakeRouter, servers: MakeServer, stream: bool
    ) -> None:
        refusing = servers(json_answer({"message": "Bedrock's words"}, 400))
        router = beside_bedrock(router_of, on_sagemaker(servers(self.MISTAKE)), refusing)
        with pytest.raises(litellm.BadRequestError, match="temperature must be at most 2") as raised:
            await router.acompletion("m", MESSAGES, stream=stream)
        assert "temperature must be at most 2" in raised.value.message.splitlines()[0]
        assert raised.value.status_code == 400


class TestGptOssOnBoth:
    @STREAM
    @ROUTES
    async def test_reasons_as_hard_as_asked_wherever_it_runs(
        self, router_of: MakeRouter, bedrock_server: Scripted, route: str, stream: bool
    ) -> None:
        config = RuntimeConfig({"gpt-oss": ()}, credentials=CREDENTIALS, region=REGION)
        with ExitStack() as stack:
            runtime = stack.enter_context(running(config))
            sagemaker = deployment(
                "sagemaker_openai/gpt-oss", "m", api_base=runtime.url, allowed_openai_params=["reasoning_effort"]
            )
            router = beside_bedrock(router_of, sagemaker, bedrock_server, route)
            first = await router.acompletion("m", MESSAGES, stream=stream, reasoning_effort="low")
            assert served_by(first) == SAGEMAKER
            assert (await reasoning_in(first)).startswith("The user's last message has")
            assert runtime.app.state.received[-1].body["reasoning_effort"] == "low"
        second = await router.acompletion("m", MESSAGES, stream=stream, reasoning_effort="low")
        assert served_by(second) == BEDROCK
        assert await reasoning_in(second) == REASONING
        sent = bedrock_server.seen[-1].json
        assert {**sent, **sent.get("additionalModelRequestFields", {})}["reasoning_effort"] == "low"


async def reasoning_in(answer: Any) -> str:
    if hasattr(answer, "choices"):
        return str(answer.choices[0].message.reasoning_content)
    deltas = [piece.choices[0].delta async for piece in answer]
    return "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)


class TestGroups:
    @STREAM
    async def test_two_regions_are_one_model(self, router_of: MakeRouter, stream: bool) -> None:
        """Each runtime takes only tokens of its own region."""
        regions = ("us-west-2", "eu-central-1")
        with ExitStack() as stack:
            config = {each: RuntimeConfig({"e": ()}, credentials=CREDENTIALS, region=each) for each in regions}
            runtimes = {each: stack.enter_context(running(config[each])) for each in regions}
            router = router_of(
                *(
                    deployment(
                        "sagemaker_openai/e", "m", info={"id": each}, aws_region_name=each, api_base=runtimes[each].url
                    )
                    for each in regions
                ),
                num_retries=0,
                allowed_fails=0,
                enable_weighted_failover=True,
            )
            served: set[str] = set()
            while served != set(regions):
                answer = await router.acompletion("m", MESSAGES, stream=stream)
                assert (await text_of(answer)).endswith("You said: Hello?")
                served.add(answer._hidden_params["model_id"])
            stack.pop_all().close()
            port = urlsplit(runtimes["eu-central-1"].url).port or 0
            alive = stack.enter_context(running(config["eu-central-1"], port=port))
            for _ in range(10):
                answer = await router.acompletion("m", MESSAGES, stream=stream)
                assert (await text_of(answer)).endswith("You said: Hello?")
            assert len(alive.app.state.received) == 10

    @STREAM
    @pytest.mark.parametrize(
        ("asked", "path"),
        [
            ("sagemaker/my-endpoint", "/endpoints/my-endpoint"),
            ("sagemaker/shared-endpoint/coder", "/endpoints/shared-endpoint/inference-components/coder"),
        ],
    )
    async def test_a_wildcard_for_all_endpoints(
        self, router_of: MakeRouter, runtime: Running, asked: str, path: str, stream: bool
    ) -> None:
        router = router_of(deployment("sagemaker_openai/*", "sagemaker/*"), num_retries=0)
        answer = await router.acompletion(asked, MESSAGES, stream=stream)
        assert (await text_of(answer)).endswith("You said: Hello?")
        assert [each.path for each in runtime.app.state.received] == [f"{path}/openai/v1/chat/completions"]
