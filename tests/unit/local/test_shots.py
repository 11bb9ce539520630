"""The demo's requests: each names what its family must be able to do, and can be drawn by another family."""

from local.shots import ADAPTER_SHOTS, TEXT_SHOTS, Shot

TASKS = {
    "generate_background": "generate_background",
    "face": "face",
    "face_id": "face",
    "control": "control",
    "control2_dark_on_light": "control",
    "control2_light_on_dark": "control",
    "inpainting": "inpaint",
    "outpainting": "outpaint",
    "img2img": "image_to_image",
}


def test_each_shot_says_its_task() -> None:
    assert {shot.task for shot in TEXT_SHOTS} == {"text_to_image"}
    assert {shot.name: shot.task for shot in ADAPTER_SHOTS if shot.task} == TASKS


def test_another_family_draws_a_shot_and_all_else_stays() -> None:
    for shot in (*TEXT_SHOTS, *ADAPTER_SHOTS):
        drawn = shot.drawn_by("mine")
        if shot.task is None:
            assert drawn == shot
            continue
        assert drawn.family == "mine"
        assert drawn.request["background"]["generate"].pop("model_type") == "mine"
        assert (drawn.task, drawn.prompt, drawn.picture, drawn.mask) == (
            shot.task,
            shot.prompt,
            shot.picture,
            shot.mask,
        )


def test_a_shot_without_a_family_stays() -> None:
    shot = Shot("bare", {"width": 4}, "a.jpg")
    assert shot.drawn_by("mine") is shot
