// `easel/element`: registers `<easel-image>`.
import { EaselImage, type EaselImageEventMap } from "./easel_image.ts";

export { EaselImage, type EaselImageEventMap };

declare global {
  interface HTMLElementTagNameMap {
    "easel-image": EaselImage;
  }
}

if (globalThis.customElements && !customElements.get("easel-image")) {
  customElements.define("easel-image", EaselImage);
}
