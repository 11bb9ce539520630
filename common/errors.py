"""Errors that the rooms share. Apart from common/settings.py, whose package model_tools does not install."""


class SettingsError(Exception):
    """An environment variable is wrong. The message is for the operator and names the variable."""
