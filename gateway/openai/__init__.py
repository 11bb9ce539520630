"""The OpenAI Images API over the same jobs: docs/openai.md says what each field does here."""
