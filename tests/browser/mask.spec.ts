// Masks as bytes.
import { expect, test } from "@playwright/test";
import { crop, Mask } from "../../www/src/shared/mask.ts";

/** A mask as rows of letters: `#` is painted, `.` is not, `+` is between. */
function seen({ bytes, width }: { bytes: Uint8Array; width: number }): string[] {
  const letters = [...bytes].map((byte) => (byte === 255 ? "#" : byte === 0 ? "." : "+")).join("");
  return letters.match(new RegExp(`.{${width}}`, "g")) ?? [];
}

test("a stroke has round ends, soft edges, and stays inside", () => {
  const mask = new Mask(9, 5);
  mask.begin();
  mask.line({ x: 2.5, y: 2.5 }, { x: 20, y: 2.5 }, 1.5);
  mask.end();
  expect(seen(mask)).toEqual([".........", ".+#######", ".########", ".+#######", "........."]);
  mask.begin();
  mask.line({ x: 4.5, y: -3 }, { x: 4.5, y: 9 }, 0.5, true);
  mask.end();
  expect(seen(mask)).toEqual([".........", ".+##.####", ".###.####", ".+##.####", "........."]);
});

test("going over the same place twice changes nothing more", () => {
  const mask = new Mask(8, 8);
  mask.line({ x: 4, y: 4 }, { x: 5, y: 4 }, 2.2);
  const once = mask.bytes.slice();
  mask.line({ x: 4, y: 4 }, { x: 5, y: 4 }, 2.2);
  expect(mask.bytes).toEqual(once);
});

test("undo and redo go through strokes, rectangles, all, clear and invert", () => {
  const mask = new Mask(6, 4);
  const states = [mask.bytes.slice()];
  const steps = [
    () => {
      mask.begin();
      mask.line({ x: 1, y: 1 }, { x: 1, y: 1 }, 1);
      mask.line({ x: 4, y: 3 }, { x: 5, y: 3 }, 1);
      mask.end();
    },
    () => mask.rectangle({ x: 2, y: 0, width: 2, height: 9 }),
    () => mask.rectangle({ x: 0, y: 2, width: 6, height: 1 }, true),
    () => mask.invert(),
    () => mask.all(),
    () => mask.all(true),
  ];
  for (const step of steps) {
    step();
    states.push(mask.bytes.slice());
  }
  for (const state of states.slice(0, -1).reverse()) {
    mask.undo();
    expect(mask.bytes).toEqual(state);
  }
  expect([mask.canUndo, mask.canRedo, mask.isEmpty]).toEqual([false, true, true]);
  for (const state of states.slice(1)) {
    mask.redo();
    expect(mask.bytes).toEqual(state);
  }
  mask.undo();
  mask.invert();
  expect(mask.canRedo).toBe(false);
});

for (const { picture, size, rect } of [
  { picture: [100, 50], size: [10, 10], rect: { x: 25, y: 0, width: 50, height: 50 } },
  { picture: [50, 100], size: [64, 64], rect: { x: 0, y: 25, width: 50, height: 50 } },
  { picture: [100, 50], size: [64, 32], rect: { x: 0, y: 0, width: 100, height: 50 } },
] as const) {
  test(`${picture.join("×")} is cut to the shape of ${size.join("×")}`, () => {
    expect(crop({ width: picture[0], height: picture[1] }, size[0], size[1])).toEqual(rect);
  });
}

test("a part of a mask is brought to another size, smaller by means and larger by copies", () => {
  const mask = new Mask(8, 4);
  mask.rectangle({ x: 2, y: 0, width: 3, height: 2 });
  const middle = crop(mask, 4, 4);
  expect(seen({ bytes: mask.resampled(middle, 4, 4), width: 4 })).toEqual(["###.", "###.", "....", "...."]);
  expect([...mask.resampled(middle, 2, 2)]).toEqual([255, 128, 0, 0]);
  const large = mask.resampled(middle, 8, 8);
  expect(seen({ bytes: large, width: 8 }).slice(3, 5)).toEqual(["######..", "........"]);
  expect(large.length).toBe(64);
});
