"""The recipe's tests: its words, its pictures and its measures; and all of it once, on the smallest settings.

`EASEL` names the `easel` command, which must draw what diffusers draws with the models that come out. No network.
"""

import copy
import itertools
import os
import random
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from dataclasses import replace
from pathlib import Path

# Before torch, whose environment it sets.
import make
from recipe import articles, autoencoder, data, diffusion, evaluation, loop, measures, nearest, networks, paths
from recipe import sharpen, whole
from recipe.captions import BEFORE, HELD_OUT, own_keywords
from recipe.colors import COLORS
from recipe.concepts import Concept, is_left_out, listed
from recipe.drawing import SHAPES
from recipe.likeness import Likeness
from recipe.measures import Case
from recipe.rendering import Renderer
from recipe.sampling import Painter, Sampling
from recipe.scenes import MORE_PAIRS, Scene, Thing, placed
from recipe.settings import PRESETS, Length
from recipe.told import Told
from recipe.work import Work

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel

PRESET = PRESETS["smoke"]
SQUARE = (128, 128)
CONCEPTS = [
    Concept("red apple", ("fruit", "red"), '<circle cx="64" cy="70" r="50" fill="#d22"/>', SQUARE),
    Concept("green tree", ("nature",), '<path d="M64 4L120 124H8z" fill="#2a4"/>', SQUARE),
    Concept("house", (), '<rect x="20" y="40" width="88" height="84" fill="#b84"/>', SQUARE),
    Concept("scissors", ("tool", "red"), '<path d="M10 10L118 118" stroke="#888" stroke-width="20"/>', SQUARE),
    Concept("wide flag", (), '<rect width="192" height="128" fill="#24c"/>', (192, 128)),
    Concept("sun", ("weather",), '<circle cx="64" cy="64" r="40" fill="#fc3"/>', SQUARE),
]
SUBJECTS = len(CONCEPTS) + len(SHAPES)


def shape(name: str, color: str, x: float, y: float, size: float) -> Thing:
    return Thing(len(CONCEPTS) + list(SHAPES).index(name), x, y, size, color, COLORS[color])


class Words(unittest.TestCase):
    def test_articles(self):
        wanted = """a unicorn|an octopus|an hourglass|a ewe|scissors|a cactus|a rhinoceros|a glass of milk
        french fries|skis|a face holding back tears|fork and knife|people holding hands|the milky way|popcorn
        a t-rex|an x-ray|seven o'clock|a lady beetle|a bus|an eagle|a euro banknote|a yo-yo"""
        for phrase in map(str.strip, wanted.replace("\n", "|").split("|")):
            name = phrase.removeprefix("a ").removeprefix("an ").removeprefix("the ")
            self.assertEqual(articles.with_article(name), phrase)

    def test_variants_and_signs_are_left_out(self):
        out = {
            "thumbs up: light skin tone": "👍🏻",
            "flag: France": "🇫🇷",
            "keycap: 1": "1⃣",
            "woman cook": "👩‍🍳",
            "person: curly hair": "🧑‍🦱",
            "seven-thirty": "🕢",
            "OK button": "🆗",
        }
        kept = {"cook": "🧑‍🍳", "red apple": "🍎", "black cat": "🐈‍⬛"}
        for names, expected in ((out, True), (kept, False)):
            for name, character in names.items():
                self.assertEqual(is_left_out([ord(part) for part in character], name), expected, name)

    def test_lists_name_everything_once(self):
        for file in ("excluded.txt", "everyday.txt", "without_article.txt"):
            self.assertEqual(len(listed(file)), len(set(listed(file))), file)
        self.assertFalse(set(listed("everyday.txt")) & set(listed("excluded.txt")))

    def test_a_keyword_of_ones_own(self):
        found = [own_keywords(concept, CONCEPTS) for concept in CONCEPTS[:4]]
        self.assertEqual(found, [("fruit",), ("nature",), (), ("tool",)])


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        data.write(PRESET, Path(cls.folder.name), CONCEPTS)
        cls.data = data.read(Path(cls.folder.name))
        cls.renderer = Renderer(cls.data.atlas, PRESET.size)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def pair(self, first: Thing, second: Thing, background: str = "white") -> Scene:
        return Scene(background, COLORS[background], "beside", (first, second))

    def test_captions_tell_what_scenes_show(self):
        scenes, captions = self.data.scenes(1), self.data.captions(2)
        held_out = [phrase.split("{")[0] for phrase in HELD_OUT]
        for _ in range(500):
            scene = scenes.scene()
            caption = captions.caption(scene)
            self.assertFalse(caption.startswith(tuple(held_out)), caption)
            if scene.background != "white":
                self.assertIn(scene.background, caption)
            if scene.layout != "alone":
                self.assertTrue(all(captions.name(thing) in caption for thing in scene.things), caption)

    def test_words_around_a_caption_say_nothing(self):
        captions = self.data.captions(2)
        prompts = [captions.among_words("a house") for _ in range(500)]
        for prompt in prompts:
            self.assertIn("a house", prompt)
            self.assertFalse(any(phrase.split("{")[0] in prompt for phrase in HELD_OUT), prompt)
        begin = tuple(f"{phrase} " for phrase in BEFORE)
        self.assertGreater(sum(prompt.startswith(begin) for prompt in prompts), 50)
        self.assertGreater(prompts.count("a house"), 50)
        named = {"red", "apple", "sun", "circle", "fruit"}
        self.assertFalse({captions._unknown_word() for _ in range(20_000)} & named)

    def test_captions_have_the_order_of_things(self):
        captions = self.data.captions(3)
        scene = self.pair(shape("circle", "red", 0.25, 0.5, 0.4), Thing(2, 0.75, 0.5, 0.4))
        texts = {captions.caption(scene) for _ in range(200)}
        self.assertIn("a red circle left of a house", texts)
        self.assertIn("a house to the right of a red circle", texts)
        self.assertFalse(any("a house left of" in text or "red circle right of" in text for text in texts))

    def test_things_are_where_and_what_scenes_say(self):
        scene = self.pair(shape("square", "red", 0.25, 0.5, 0.4), shape("square", "blue", 0.75, 0.5, 0.4), "green")
        picture = self.renderer.pictures([scene])[0]
        size = PRESET.size
        places = {(size // 4, size // 2): "red", (3 * size // 4, size // 2): "blue", (0, 0): "green"}
        for (x, y), color in places.items():
            found = (picture[:, y, x] + 1) * 127.5
            self.assertTrue(torch.allclose(found, torch.tensor(COLORS[color]).float(), atol=1), color)
        left, right = self.renderer.masks(scene)
        self.assertGreater(left[:, : size // 2].sum(), 0.99 * left.sum())
        self.assertGreater(right[:, size // 2 :].sum(), 0.99 * right.sum())

    def test_told_places_stay_inside_the_picture(self):
        scenes = self.data.scenes(6, MORE_PAIRS)
        for _ in range(100):
            scene = scenes.scene()
            middle = placed(scene, (0.5, 0.5, 0.5))
            for told in itertools.product((0, 1), repeat=3):
                shown = placed(scene, told)
                for old, thing in zip(middle.things, shown.things):
                    moved = (thing.x - old.x, thing.y - old.y, thing.size - old.size)
                    self.assertEqual([int(distance > 0) for distance in moved], list(told))
                    self.assertTrue(all(thing.size / 2 <= at <= 1 - thing.size / 2 for at in (thing.x, thing.y)))
                self.assertEqual(placed(shown, (0.5, 0.5, 0.5)), middle)

    def test_the_nearest_render_is_found(self):
        scenes = self.data.scenes(5, MORE_PAIRS)
        told = [placed(scenes.scene(), (0.5, 0.5, 0.5)) for _ in range(32)]
        pictures = self.renderer.pictures(told)
        # In place of an autoencoder: colours at a quarter of the side, mixed, beside a channel that says nothing of them.
        colors = torch.nn.functional.avg_pool2d(pictures, 4)
        mixed = torch.einsum("nchw,cd->ndhw", colors, torch.tensor([[1.0, 0.5, 0], [0, 1, 0.3], [0.2, 0, 1]]))
        latents = torch.cat([mixed + 0.4, torch.randn(32, 1, *colors.shape[-2:])], 1)
        small = Renderer(self.data.atlas, colors.shape[-1] * nearest.FINER)
        search = nearest.Search(small, random.Random(5), pictures, latents)
        # What was drawn is beside what was told.
        far = []
        for scene in told:
            things = (replace(thing, x=thing.x + 0.018, y=thing.y - 0.018) for thing in scene.things)
            far.append(replace(scene, things=tuple(things)))
        # Pictures of 32 pixels a side show no smaller distances.
        with unittest.mock.patch.object(nearest, "NEARER", (0.02, 0.008)):
            found = search.nearest(far, latents)

        def distance(others: list[Scene]) -> float:
            return float((torch.nn.functional.avg_pool2d(self.renderer.pictures(others), 4) - colors).square().mean())

        self.assertLess(distance(found), 0.05 * distance(far))
        for scene, other in zip(told, found):
            self.assertEqual([t.subject for t in scene.things], [t.subject for t in other.things])

    def test_slopes_tell_blur_and_rings_but_not_places(self):
        picture = self.renderer.pictures([self.pair(shape("square", "red", 0.25, 0.5, 0.4), Thing(2, 0.75, 0.5, 0.4))])
        blurred = torch.nn.functional.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)
        ringing = picture + (picture - blurred)
        moved = picture.roll(1, -1)
        distance = [float(sharpen.slopes_loss(found, picture)) for found in (picture, moved, blurred, ringing)]
        self.assertEqual(distance[0], 0)
        self.assertLess(2 * distance[1], min(distance[2:]))
        apart = [float((found - picture).abs().mean()) for found in (moved, blurred)]
        self.assertGreater(apart[0], 0.5 * apart[1], "by pixels, what moved is off as well")

    def test_latents_are_led_back_to_where_they_were(self):
        before = networks.autoencoder(PRESET).requires_grad_(False)
        model = copy.deepcopy(before).requires_grad_(True)
        pictures = self.renderer.pictures([self.pair(Thing(1, 0.25, 0.5, 0.4), Thing(2, 0.75, 0.5, 0.4))])
        self.assertEqual(float(whole.losses(model, before, pictures)["moved"].detach()), 0)
        last = model.quant_conv.bias
        with torch.no_grad():
            last += 1
        moved = whole.losses(model, before, pictures)["moved"]
        (slope,) = torch.autograd.grad(moved, last)
        self.assertAlmostEqual(float(moved.detach()), whole.STAY * before.config.scaling_factor**2, places=5)
        self.assertGreater(float(slope[: PRESET.autoencoder.latent_channels].min()), 0)

    def test_a_faint_line_counts_more_than_its_contrast(self):
        wanted = torch.ones(1, 3, 64, 64)
        wanted[..., 8:56, 8:56] = 0.2
        without_faint, without_bold = wanted.clone(), wanted.clone()
        wanted[..., 20:22, 12:52] = 0.1
        wanted[..., 40:42, 12:52] = -1
        without_faint[..., 40:42, 12:52] = -1
        without_bold[..., 20:22, 12:52] = 0.1
        for loss, least, most in ((autoencoder.reconstruction_loss, 11, 13), (autoencoder.faint_lines_loss, 3, 4)):
            faint, bold = (float(loss(found, wanted) - loss(wanted, wanted)) for found in (without_faint, without_bold))
            self.assertTrue(least < bold / faint < most, f"{loss.__name__}: {bold / faint}")

    def test_pieces_are_of_one_place(self):
        latents = torch.arange(64.0).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
        for _ in range(20):
            some, pictures = autoencoder.cropped_both(latents, latents.repeat_interleave(4, -1).repeat_interleave(4, -2), 16)
            self.assertEqual((some.shape, pictures.shape), ((2, 1, 4, 4), (2, 1, 16, 16)))
            self.assertTrue(torch.equal(pictures[..., ::4, ::4], some))

    def test_measures_see_swapped_colours_and_backgrounds(self):
        judge = networks.Judge(SUBJECTS, PRESET.judge.width).eval()
        likeness = Likeness(judge, self.renderer, len(CONCEPTS), len(SHAPES), PRESET.judge.size)
        red, blue = (shape("square", color, x, 0.5, 0.4) for color, x in (("red", 0.25), ("blue", 0.75)))
        swapped = self.pair(shape("square", "blue", 0.25, 0.5, 0.4), shape("square", "red", 0.75, 0.5, 0.4), "pink")
        asked = [Case("", self.pair(red, blue))] * 2
        pictures = self.renderer.pictures([asked[0].scene, swapped])
        found = measures.pairs(asked, pictures, likeness, self.renderer, PRESET.judge.size)
        self.assertEqual(found["shape colour"], 0.5)
        self.assertEqual(measures.backgrounds(asked, pictures), {"background": 0.5})

    def test_variety_is_how_far_two_pictures_are_apart(self):
        pictures = torch.tensor([-1.0, 1.0, 0.5, 0.5]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
        cases = [Case("", self.data.scenes(1).scene())] * 4
        self.assertEqual(measures.variety(cases, pictures), {"difference": 0.5})

    def test_renders_are_likest_to_their_subject(self):
        judge = networks.Judge(SUBJECTS, PRESET.judge.width).eval()
        likeness = Likeness(judge, self.renderer, len(CONCEPTS), len(SHAPES), PRESET.judge.size)
        scenes = [Scene("white", COLORS["white"], "alone", (Thing(i, 0.5, 0.52, 0.85),)) for i in range(len(CONCEPTS))]
        found = measures.alone([Case("", scene) for scene in scenes], self.renderer.pictures(scenes), likeness)
        self.assertEqual((found["pixel top1"], found["shape top1"]), (1.0, 1.0))

    def test_ranks(self):
        distances = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]])
        self.assertEqual(measures.ranked(distances, torch.tensor([0, 1])), {"top1": 0.5, "top5": 1.0})
        self.assertEqual(measures.ranked(distances, torch.tensor([5, 5])), {"top1": 0.5, "top5": 0.5})


class Noise(unittest.TestCase):
    def test_velocity_gives_latents_and_noise_back(self):
        alphas = networks.schedule().alphas_cumprod
        latents, noise = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
        timesteps = torch.tensor([0, 500, 999])
        inputs, velocity = diffusion.noised(latents, noise, alphas, timesteps)
        signal, spread = diffusion.scales(alphas, timesteps)
        self.assertTrue(torch.allclose(signal * inputs - spread * velocity, latents, atol=1e-5))
        self.assertTrue(torch.allclose(inputs[2], noise[2], atol=1e-3))

    def test_noise_tells_three_numbers_apart(self):
        told = Told(4, 16)(torch.randn(20_000, 4, 16, 16, generator=torch.Generator().manual_seed(1)))
        # Of numbers that are anywhere in 0..1; a mean of 20,000 is off by 0.002.
        self.assertTrue(torch.allclose(told.mean(0), torch.full((3,), 0.5), atol=0.01))
        self.assertTrue(torch.allclose(told.std(0), torch.full((3,), 12**-0.5), atol=0.01))
        self.assertTrue(torch.allclose(told.T.corrcoef(), torch.eye(3), atol=0.03))

    def test_a_step_along_a_path_is_one_of_ddim(self):
        # diffusers rounds where 1000 is no multiple of the steps.
        scheduler = networks.schedule()
        scheduler.set_timesteps(4)
        timesteps, angle = paths.angles(4)
        latents, velocity = torch.randn(2, 1, 4, 2, 2)
        for i, timestep in enumerate(timesteps):
            wanted = scheduler.step(velocity, timestep, latents).prev_sample
            found = paths.stepped(latents, velocity, angle[i] - angle[i + 1])
            self.assertTrue(torch.allclose(found, wanted, atol=1e-5), f"step {i}")

    def test_the_student_steps_where_its_teacher_does(self):
        for name, preset in PRESETS.items():
            settings = preset.student
            stride, rest = divmod(settings.teacher_steps, settings.steps)
            self.assertEqual(rest, 0, name)
            teachers, _ = paths.angles(settings.teacher_steps)
            students, _ = paths.angles(settings.steps)
            self.assertTrue(torch.equal(teachers[::stride], students), name)

    def test_rates_fall_and_lengths_are_kept(self):
        self.assertEqual(Length(steps=10).fraction(5, 999), 0.5)
        self.assertEqual(Length(minutes=2).fraction(5, 30), 0.25)
        self.assertLess(loop.rate_at(0, 0), 0.1)
        self.assertEqual(loop.rate_at(1000, 0.2), 1.0)
        self.assertLess(loop.rate_at(1000, 1.0), 0.03)


class After(loop.Deadline):
    """A deadline that passes at the given check."""

    def __init__(self, checks: int):
        self._left = checks

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise loop.Paused


class WholeRecipe(unittest.TestCase):
    """Trains everything for four steps a stage, with a break in the middle of each."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.folder = Path(cls._folder.name)
        data.write(PRESET, cls.folder / "data", CONCEPTS)
        torch.set_num_threads(2)
        cls.work = cls.opened(loop.Deadline(None))
        cls.breaks = {}
        for name, stage in make.STAGES.items():
            try:
                stage(cls.opened(After(1)))
            except loop.Paused:
                saved = torch.load(cls.folder / f"{name}.checkpoint", weights_only=True)
                cls.breaks[name] = saved["step"]
            stage(cls.work)
        for name, which in (("teacher", ["--teacher"]), ("student", [])):
            cls.made("publish", *which, "--out", str(cls.folder / "published" / name))

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    @classmethod
    def made(cls, command: str, *options: str, work: Path | None = None) -> None:
        make.main([command, "--preset", "smoke", "--work", str(work or cls.folder), "--device", "cpu", *options])

    @classmethod
    def opened(cls, deadline: loop.Deadline) -> Work:
        return Work(PRESET, data.read(cls.folder / "data"), cls.folder, torch.device("cpu"), deadline)

    def test_stages_stop_and_go_on(self):
        # The second check is after the second step; what others learn from is too small for a second one.
        filled = ("pool", "paths", "drawn")
        self.assertEqual(self.breaks, {name: 2 for name in make.STAGES if name not in filled})
        self.assertEqual(list(self.folder.glob("*.checkpoint")), [])

    def test_weights_have_their_notices(self):
        for name in ("teacher", "student"):
            found = {file.name for file in (self.folder / "published" / name).iterdir()}
            self.assertLessEqual({"NOTICE", "LICENSE-APACHE", "LICENSE-UNICODE", "model_index.json"}, found)

    def test_a_model_says_what_it_draws(self):
        things = (self.folder / "published" / "student" / "things.txt").read_text(encoding="utf-8").splitlines()
        self.assertEqual(things, [articles.with_article(concept.name) for concept in self.work.data.concepts])

    def test_a_run_goes_on_from_a_published_model(self):
        model, work = self.folder / "published" / "student", self.folder / "adopted"
        data.write(PRESET, work / "data", CONCEPTS)
        self.made("adopt", "--model", str(model), work=work)
        self.made("train", "--stages", "phrasings", work=work)
        words = [CLIPTextModel.from_pretrained(folder / "text_encoder") for folder in (model, work / "model")]
        before, after = (encoder.get_input_embeddings().weight for encoder in words)
        self.assertFalse(torch.equal(before, after))
        self.made("train", "--stages", "vae,pool,text,unet", work=work)
        trained = {}
        for name, folder in (("published", model), ("adopted", work / "model")):
            trained[name] = UNet2DConditionModel.from_pretrained(folder / "unet").conv_in.weight
            self.assertEqual(trained[name].dtype, torch.float32)
        # A few steps of its low rate move a weight by less than a hundredth; fresh ones differ by tenths.
        self.assertFalse(torch.equal(trained["published"], trained["adopted"]))
        self.assertLess((trained["published"] - trained["adopted"]).abs().max(), 0.01)

    def test_easel_draws_what_diffusers_draws(self):
        for name, steps in (("teacher", 3), ("student", 2)):
            model, file = self.folder / "published" / name, self.folder / f"{name}.png"
            wanted = Painter(model, torch.device("cpu")).pictures(["a red apple"], Sampling(steps, 1.0), 7)
            command = [os.environ["EASEL"], "generate", "--device", "cpu", "--prompt", "a red apple", "--guidance", "1"]
            command += ["--seed", "7", "--steps", str(steps), "--model", str(model), "--out", str(file)]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            found = torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy()).permute(2, 0, 1)
            difference = (found / 127.5 - 1 - wanted[0]).abs().max()
            # One level of 255 is 2 / 255: the sums of the two differ in their order.
            self.assertLess(difference, 2.5 / 255, name)

    def test_the_measure_writes_its_numbers(self):
        suite = evaluation.Suite(limit=4, backgrounds=2, pairs=2)
        folder = self.folder / "numbers"
        model = self.folder / "published" / "student"
        found = evaluation.evaluate(self.work, model, Sampling(2, 1.0), suite, [0, 1, 3], folder)
        self.assertEqual({name: part["prompts"] for name, part in found["sections"].items()}, SECTIONS)
        scores = [score for part in found["sections"].values() for score in part["scores"].values()]
        self.assertTrue(all(0 <= value <= 1 for score in scores for value in score.values()))
        self.assertEqual({file.name for file in folder.iterdir()}, NUMBERS)
        again = evaluation.evaluate(self.work, model, Sampling(2, 1.0), suite, [0, 1, 3], folder)
        self.assertEqual(again, found)


SECTIONS = {"names": 3, "held-out phrasings": 3, "keywords": 3, "backgrounds": 2, "pairs": 2, "two seeds": 2}
NUMBERS = {"evaluation.json", "evaluation.md", "names.png", "pairs.png"}


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    sys.exit(failed > 0)
