"""mini-swe-agent, through LiteLLM."""

from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_model import LitellmModel

model = LitellmModel(model_name="sagemaker_openai/my-endpoint")
agent = DefaultAgent(
    model, LocalEnvironment(), system_template="Use the bash tool.", instance_template="Your task: {{task}}"
)
finished = agent.run('Run "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo 12 degrees in Dublin".')
print(finished["submission"], agent.cost)

# What else is tried
[asked] = [message for message in agent.messages if message["role"] == "assistant"]
WITHOUT = {
    "chat": "every answer must be a tool call",
    "stream": "it does not stream",
    "structured": "it has none",
}


def usage():
    tokens = asked["extra"]["response"]["usage"]
    return tokens["prompt_tokens"], tokens["completion_tokens"]


def cost():
    return agent.cost


def tools():
    return finished["submission"]
