"""Photographs enhanced by classical means.

Each function takes RGB uint8 (H, W, 3) and a level from 0, which changes nothing, to 1; it answers the same shape.
"""
