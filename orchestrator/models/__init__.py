"""The networks: what they take and give, which family uses which, and how they are called in Triton."""
