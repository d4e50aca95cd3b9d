// The picture to start from, and the mask of what to draw anew in it.
import { asEaselError } from "../../shared/errors.ts";
import { crop, Mask } from "../../shared/mask.ts";
import type { GenerateParams } from "../../shared/protocol.ts";
import { element } from "../elements.ts";
import { button, make } from "../make.ts";
import { showError } from "../status.ts";
import { decodePicture } from "./decode.ts";
import { keepInput, keptInput } from "./kept.ts";
import { MaskTools } from "./mask_tools.ts";
import { Painter } from "./painter.ts";

const LONGEST_MASK_SIDE = 1024;
const USUAL_STRENGTH = 0.8;

interface Size {
  width: number;
  height: number;
}

/** A picture to start from, with what is set about it. */
export interface Start {
  file: Blob;
  /** `undefined` for an empty one. */
  mask: { width: number; height: number; bytes: Uint8Array<ArrayBuffer> } | undefined;
  strength: number;
}

interface Input {
  file: Blob;
  bitmap: ImageBitmap;
  mask: Mask;
}

/** The form's fieldset "Start from a picture". */
export class PictureInput {
  readonly #picture = make("canvas", { className: "start-picture" });
  readonly #painter = new Painter(() => this.#painted());
  readonly #frame = make(
    "div",
    { className: "start-frame" },
    this.#picture,
    this.#painter.canvas,
    this.#painter.ring,
  );
  readonly #tools = new MaskTools(this.#painter, () => this.#painted());
  readonly #file = make("input", { type: "file", accept: "image/*", hidden: true });
  readonly #empty: HTMLElement;
  readonly #filled: HTMLElement;
  readonly #strength = make("input", { type: "range", min: "0.05", max: "1", step: "0.05", id: "strength" });
  readonly #strengthNumber = make("input", {
    type: "number",
    min: "0.01",
    max: "1",
    step: "any",
    required: true,
  });
  #input: Input | undefined;
  #size: Size = { width: 1, height: 1 };

  constructor() {
    const choose = button("Choose a picture", () => this.#file.click());
    const hint = make("span", { className: "hint" }, "or drop or paste one");
    this.#empty = make("div", { className: "start-empty" }, choose, hint);
    const replace = button("Another picture", () => this.#file.click());
    const remove = button("Remove", () => void this.clear());
    const buttons = make("div", { className: "buttons" }, replace, remove);
    this.#filled = make("div", { className: "start-filled", hidden: true });
    this.#filled.append(this.#frame, this.#strengthField(), this.#tools.element, buttons);
    element("picture-input", HTMLFieldSetElement).append(
      make("legend", { className: "label" }, "Start from a picture"),
      this.#empty,
      this.#filled,
      this.#file,
    );
    this.#picture.setAttribute("role", "img");
    this.#file.ariaLabel = "Picture to start from";
    this.#file.addEventListener("change", () => {
      const [chosen] = this.#file.files ?? [];
      this.#file.value = "";
      if (chosen) void this.start(chosen);
    });
    this.#setStrength(USUAL_STRENGTH);
    void this.#restore();
  }

  /** Starts from a file; what it cannot be is said, and the picture before stays. */
  async start(file: Blob): Promise<void> {
    try {
      const bitmap = await decodePicture(file);
      this.#take(file, bitmap, new Mask(...maskSize(bitmap)));
      this.#setStrength(USUAL_STRENGTH);
      await this.#keep();
      element("picture-input", HTMLFieldSetElement).scrollIntoView({ block: "nearest" });
    } catch (error) {
      showError(asEaselError(error));
    }
  }

  /** What is set here now; `undefined` without a picture. */
  get current(): Start | undefined {
    if (!this.#input) return undefined;
    const { file, mask } = this.#input;
    const { width, height } = mask;
    const strength = this.#strengthNumber.valueAsNumber;
    return { file, mask: { width, height, bytes: new Uint8Array(mask.bytes) }, strength };
  }

  /** Sets all of it, or starts from noise; throws `bad_picture`. */
  async use(start: Start | undefined): Promise<void> {
    if (!start) return this.clear();
    const bitmap = await decodePicture(start.file);
    const { width, height, bytes } = start.mask ?? {};
    const mask = width && height ? new Mask(width, height, bytes) : new Mask(...maskSize(bitmap));
    this.#take(start.file, bitmap, mask);
    this.#setStrength(start.strength);
    await this.#keep();
  }

  /** Starts from noise again. */
  async clear(): Promise<void> {
    this.#input?.bitmap.close();
    this.#input = undefined;
    this.#show();
    await this.#keep();
  }

  /** Shows the picture as it is cut for a size. */
  fit(size: Size): void {
    if (!(size.width > 0 && size.height > 0)) return;
    this.#size = size;
    this.#frame.style.aspectRatio = `${size.width} / ${size.height}`;
    this.#frame.style.setProperty("--ratio", String(size.width / size.height));
  }

  /** Parameters with what is set here; the picture is cut to their size. */
  complete(params: GenerateParams): GenerateParams {
    const input = this.#input;
    if (!input) return params;
    const { width, height } = params;
    const { bitmap, mask } = input;
    const image = pixelsOf(bitmap, width, height);
    const strength = this.#strengthNumber.valueAsNumber;
    if (mask.isEmpty) return { ...params, image, strength };
    const mask_image = mask.resampled(crop(mask, width, height), width, height);
    return { ...params, image, mask_image, strength };
  }

  #take(file: Blob, bitmap: ImageBitmap, mask: Mask): void {
    this.#input?.bitmap.close();
    this.#input = { file, bitmap, mask };
    this.#picture.width = bitmap.width;
    this.#picture.height = bitmap.height;
    this.#picture.getContext("2d")?.drawImage(bitmap, 0, 0);
    this.#painter.use(mask);
    this.#tools.use(mask);
    this.#show();
  }

  #show(): void {
    this.#filled.hidden = !this.#input;
    this.#empty.hidden = !!this.#input;
    this.fit(this.#size);
    this.#describe();
  }

  #describe(): void {
    const share = Math.round(100 * (this.#input?.mask.share ?? 0));
    this.#picture.ariaLabel = `Picture to start from; ${share} % of it are masked`;
  }

  #painted(): void {
    this.#tools.show();
    this.#describe();
    void this.#keep();
  }

  #strengthField(): HTMLElement {
    const label = make("label", { htmlFor: "strength" }, "Strength");
    const hint = make("p", { className: "hint" }, "Low keeps the picture, 1 draws all anew.");
    this.#strengthNumber.ariaLabel = "Strength as a number";
    for (const field of [this.#strength, this.#strengthNumber]) {
      field.addEventListener("input", () => {
        if (field.validity.valid) this.#setStrength(field.valueAsNumber, field);
      });
      field.addEventListener("change", () => void this.#keep());
    }
    const row = make("div", { className: "row" }, this.#strength, this.#strengthNumber);
    return make("div", { className: "field strength" }, label, row, hint);
  }

  /** Writes to the fields but the one that is being typed in. */
  #setStrength(strength: number, typed?: HTMLInputElement): void {
    for (const field of [this.#strength, this.#strengthNumber])
      if (field !== typed) field.value = String(strength);
  }

  async #restore(): Promise<void> {
    const kept = await keptInput();
    if (!kept || this.#input) return;
    const bitmap = await decodePicture(kept.file).catch(() => undefined);
    if (!bitmap) return;
    const [width, height] = maskSize(bitmap);
    const mask =
      kept.mask.length === width * height ? new Mask(width, height, kept.mask) : new Mask(width, height);
    this.#take(kept.file, bitmap, mask);
    this.#setStrength(kept.strength);
  }

  async #keep(): Promise<void> {
    const input = this.#input;
    const strength = this.#strengthNumber.valueAsNumber;
    await keepInput(input && { file: input.file, mask: input.mask.bytes, strength });
  }
}

function maskSize({ width, height }: Size): [width: number, height: number] {
  const scale = Math.min(1, LONGEST_MASK_SIDE / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** The middle of a picture at a size, RGBA. */
function pixelsOf(bitmap: ImageBitmap, width: number, height: number): Uint8Array {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) return new Uint8Array(4 * width * height);
  const cut = crop(bitmap, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, cut.x, cut.y, cut.width, cut.height, 0, 0, width, height);
  return new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
}
