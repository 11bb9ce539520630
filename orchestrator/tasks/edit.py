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
    enlarged = text.enlarge if task_of(plan, Edit).enlargement is Enlargement.TEXT else resized
    compose = in_thread(lambda: enlarged(pictures.main, frame.made))
    return await finish(plan, workshop, frame, compose, pictures=pictures)
