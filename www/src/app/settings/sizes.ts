// Sizes of a wanted shape that a model draws well: about as many pixels as it was trained on, in steps that it takes.
import type { ModelInfo } from "../../shared/protocol.ts";

/** A shape by its sides. */
export interface Shape {
  name: string;
  width: number;
  height: number;
}

export const SHAPES: readonly Shape[] = [
  { name: "Tall", width: 9, height: 16 },
  { name: "Portrait", width: 3, height: 4 },
  { name: "Square", width: 1, height: 1 },
  { name: "Landscape", width: 4, height: 3 },
  { name: "Wide", width: 16, height: 9 },
];

/** Large models were trained on sides that are multiples of this. */
const TRAINED_STEP = 64;
const LARGE = 512;
/** How much a wrong number of pixels counts beside a wrong ratio. */
const AREA_COUNTS = 0.5;

/** Width and height in pixels for a shape. */
export function sizeOf(shape: Shape, info: ModelInfo): { width: number; height: number } {
  const { width, height, factor } = info;
  if (shape.width === shape.height && width === height) return { width, height };
  const step = Math.min(width, height) >= LARGE && TRAINED_STEP % factor === 0 ? TRAINED_STEP : factor;
  const area = width * height;
  const wanted = shape.width / shape.height;
  const cost = (size: { width: number; height: number }) =>
    Math.abs(Math.log(size.width / size.height / wanted)) +
    AREA_COUNTS * Math.abs(Math.log((size.width * size.height) / area));
  const sides = Array.from({ length: Math.ceil((2 * Math.sqrt(area)) / step) }, (_, at) => (at + 1) * step);
  const sizes = sides.flatMap((w) => sides.map((h) => ({ width: w, height: h })));
  return sizes.reduce((best, size) => (cost(size) < cost(best) ? size : best), { width, height });
}
