"""A picture without any painting."""

from orchestrator.diffusion.pipeline import Stage
from orchestrator.imaging import text
from orchestrator.imaging.layers import resized
from orchestrator.params import Edit, Enlargement
from orchestrator.tasks.finish import finish, in_thread
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of
from orchestrator.tasks.workshop import Begun, Made, Workshop


async def edit(plan: Plan, workshop: Workshop) -> Made:
    """Resize, cut out, put before another background. Raises as tasks.run does."""
    async with workshop.stage(Stage.PREPARE):
        pictures = await load(plan, workshop)
        frame = Frame.of(size_of(pictures.main), plan.size, plan.layout, workshop.max_pixels)
        workshop.begin(Begun((0, 0)))
    by_strokes = task_of(plan, Edit).enlargement is Enlargement.TEXT
    enlarged = text.enlarge if by_strokes else resized
    # Of a large result the picture's own pixels are resized once, as the file is written.
    whole = frame.is_large and not by_strokes and plan.background.remove is None and plan.faces is None
    compose = in_thread(lambda: pictures.main if whole else enlarged(pictures.main, frame.made))
    return await finish(plan, workshop, frame, compose, pictures=pictures)
