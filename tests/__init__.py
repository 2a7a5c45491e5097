"""The tests. They run offline: no test sees this machine's AWS configuration, none reaches beyond this machine."""

import os

# Before LiteLLM is imported: without it, LiteLLM waits for a price list that it cannot download.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
