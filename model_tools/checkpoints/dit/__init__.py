"""Diffusion transformers in diffusers' layout: what each architecture is, and its networks behind one contract.

The contract is the UNets': latents in plain NCHW, a timestep from 0 to 1000, the prompt's hidden states, and, where the
architecture has it, a pooled prompt; the output is the velocity ε - x₀ of rectified flow. Patches, position ids and
masks are computed inside the graph. Where an architecture masks padding, hidden states that are zeros are padding.
"""
