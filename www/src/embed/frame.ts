// Entry of embed.html: a picture in a frame, for pages that may not or will not run scripts of ours.

import { builtPlaces } from "../shared/built_places.ts";
import { BUNDLED } from "../shared/bundled_model.ts";
import { asEaselError, type EaselError } from "../shared/errors.ts";
import { modelAddress } from "../shared/model_address.ts";
import { EaselImage } from "./element.ts";
import { ATTRIBUTES, type FrameAddress, readFrameAddress } from "./frame_address.ts";
import { FrameParent } from "./frame_parent.ts";
import { type FrameWish, type Id, readMessage, type ToFrame } from "./frame_protocol.ts";

/** Origins that this build lets embed it; none for any. */
declare const __EMBED_ORIGINS__: string[];

const image = document.querySelector("easel-image");
const problem = document.getElementById("problem");
/** The message that the present run answers, of which ids need not differ; null for a run of the visitor. */
let answered: { id: Id } | null = null;

/** Shows what the frame's address asks for. */
function show(target: EaselImage, { attributes, model, controls }: FrameAddress): void {
  for (const name of ATTRIBUTES) {
    const value = attributes.get(name);
    if (value === undefined) target.removeAttribute(name);
    else target.setAttribute(name, value);
  }
  target.controls = controls;
  target.model = addressOf(model ?? BUNDLED);
}

/** Throws `model_address` and `model_host`, as the page does. */
function addressOf(model: string): string {
  return modelAddress(model, builtPlaces(new URL(location.href))).href;
}

function tellProblem(error: EaselError | undefined): void {
  if (problem) problem.textContent = error ? `${error.message} (${error.code})` : "";
}

function obey(target: EaselImage, parent: FrameParent, command: ToFrame): void {
  if (command.type === "stop") {
    target.stop();
    return;
  }
  const { id } = command;
  const fail = (thrown: unknown) => {
    const { code, message } = asEaselError(thrown);
    parent.tell({ easel: 1, id, type: "error", code, message });
  };
  try {
    adopt(target, command);
    if (command.model !== undefined) tellProblem(undefined);
  } catch (error) {
    fail(error);
    return;
  }
  // What is under way ends under its own name.
  target.stop();
  const message = { id };
  answered = message;
  target
    .generate()
    .then((picture) => parent.tell({ easel: 1, id, type: "picture", ...picture }), fail)
    .finally(() => {
      if (answered === message) answered = null;
    });
}

function adopt(target: EaselImage, wish: FrameWish): void {
  const { prompt, negativePrompt, model, sampler, alt, steps, guidance, seed, width, height } = wish;
  // First what may be refused.
  const given = { model: model === undefined ? undefined : addressOf(model ?? BUNDLED) };
  const rest = { prompt, negativePrompt, sampler, alt, steps, guidance, seed, width, height };
  for (const [name, value] of Object.entries({ ...given, ...rest })) {
    if (value !== undefined) Object.assign(target, { [name]: value });
  }
}

/** Passes the element's events on. How a run ends that a message asked for is told as the answer to that. */
function report(target: EaselImage, parent: FrameParent): void {
  target.addEventListener("progress", ({ detail }) =>
    parent.tell({ easel: 1, id: answered?.id ?? null, type: "progress", ...detail }),
  );
  target.addEventListener("step", ({ detail }) =>
    parent.tell({ easel: 1, id: answered?.id ?? null, type: "step", ...detail }, [detail.picture]),
  );
  target.addEventListener("generate", ({ detail }) => {
    if (answered === null) parent.tell({ easel: 1, id: null, type: "picture", ...detail });
  });
  for (const type of ["error", "stop"] as const) {
    target.addEventListener(type, ({ detail: { code, message } }) => {
      if (answered === null) parent.tell({ easel: 1, id: null, type: "error", code, message });
    });
  }
}

/** Listens to the page that the frame is in, when it is in one. */
function listen(target: EaselImage, origin: string | null): FrameParent | undefined {
  if (window.parent === window) return undefined;
  const parent = new FrameParent(window.parent, __EMBED_ORIGINS__, origin);
  report(target, parent);
  addEventListener("message", (event) => {
    const reading = readMessage(event.data);
    if (!reading || !parent.accepts(event)) return;
    if ("command" in reading) obey(target, parent, reading.command);
    else parent.tell({ easel: 1, id: reading.id, type: "error", code: reading.code, message: reading.fault });
  });
  parent.announce({ easel: 1, id: null, type: "ready" });
  return parent;
}

/** Does what the frame's address says, now and whenever that changes; a fault in it but the origin leaves it listening. */
function start(target: EaselImage): void {
  let parent: FrameParent | undefined;
  const turn = () => {
    try {
      const address = readFrameAddress(location.hash);
      parent ??= listen(target, address.origin);
      show(target, address);
      tellProblem(undefined);
    } catch (thrown) {
      const error = asEaselError(thrown);
      tellProblem(error);
      parent?.announce({ easel: 1, id: null, type: "error", code: error.code, message: error.message });
    }
  };
  turn();
  addEventListener("hashchange", turn);
}

if (image instanceof EaselImage) start(image);
