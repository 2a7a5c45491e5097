# LiteLLM's proxy with sagemaker_openai/, on LiteLLM's own image. The package needs nothing that is not in it, so it is
# copied, not installed: that works whatever Python and package manager the image has.
#
#   docker build -t litellm-sagemaker-openai .
#   docker run -p 4000:4000 -e LITELLM_MASTER_KEY -e AWS_REGION -v ./config.yaml:/app/config.yaml litellm-sagemaker-openai
#
# How this was checked: where the tests run there is no Docker engine, so this file was never built there.
# tests/operating/test_image.py does what COPY and ENV say in an empty folder, starts the proxy there with CMD's
# arguments, and checks that the package imports nothing that LiteLLM does not bring along.
FROM ghcr.io/berriai/litellm:v1.106.2
COPY litellm_sagemaker_openai /opt/sagemaker/litellm_sagemaker_openai
COPY proxy_config.yaml /app/config.yaml
ENV PYTHONPATH=/opt/sagemaker
CMD ["--config", "/app/config.yaml", "--port", "4000"]
