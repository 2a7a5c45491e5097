"""deploy/helm/values.yaml: an update that ends no stream, and the secrets that it reads."""

from __future__ import annotations

import re

from tests.deploy.files import HELM, HELM_TEXT, LONGEST_STREAM
from tests.operating.test_image import only


def test_a_pod_waits_for_the_load_balancer_and_for_the_longest_stream() -> None:
    _, seconds = HELM["lifecycle"]["preStop"]["exec"]["command"]
    assert HELM["terminationGracePeriodSeconds"] > int(seconds) + LONGEST_STREAM + 20


def test_no_pod_goes_before_another_is_ready() -> None:
    assert HELM["replicaCount"] >= 2
    assert HELM["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert HELM["pdb"] == {"enabled": True, "maxUnavailable": 1}


def test_the_image_is_this_repositorys_and_the_chart_is_of_the_same_litellm() -> None:
    _, _, version = only("FROM").partition(":v")
    assert HELM["image"]["tag"].startswith(f"{version}-")
    assert f"oci://ghcr.io/berriai/litellm-helm --version {version} " in HELM_TEXT
    assert HELM["image"]["repository"].endswith("/litellm-sagemaker-openai")


def test_no_secret_is_in_it_and_the_charts_database_is_off() -> None:
    """The chart's own master key, and its Postgres with a password that everybody knows, are not used."""
    assert HELM["masterkeySecretName"] in HELM["environmentSecrets"]
    assert HELM["masterkeySecretKey"] == "LITELLM_MASTER_KEY"
    assert "masterkey" not in HELM
    assert HELM["db"]["deployStandalone"] is False
    written = re.findall(r"(?im)^ *\w*(?:password|_key|token|salt)\w*: +(\S+)", HELM_TEXT)
    assert [each for each in written if not each.startswith("os.environ/")] == [
        "password"
    ]  # the name of a key of the secret


def test_each_pod_may_be_on_another_node() -> None:
    [spread] = HELM["topologySpreadConstraints"]
    # What the chart gives its pods: nameOverride is "litellm" by default.
    assert spread["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": "litellm"}
