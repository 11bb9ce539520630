"""What the golden tests compare with: small random models, and the answers of diffusers to them."""
