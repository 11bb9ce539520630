"""Diffusion in numpy: noise schedules, samplers, guidance, noise, latents, tokens, and the one pipeline on top."""
