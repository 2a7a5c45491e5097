"""What the scripts that call SageMaker in this process begin with; the harness runs it before each of them."""

import litellm_sagemaker_openai

litellm_sagemaker_openai.register(
    models={
        "my-endpoint": {
            "mode": "chat",
            "max_input_tokens": 32768,
            "max_output_tokens": 8192,
            "supports_function_calling": True,
            "supports_response_schema": True,
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 2e-6,
        }
    }
)
