// Functions of the page that need no page.
import { expect, test } from "@playwright/test";
import { readLocation } from "../../www/src/app/location.ts";
import { asEaselError, EaselError, fromWire, toWire } from "../../www/src/shared/errors.ts";
import { duration, megabytes, Pace } from "../../www/src/shared/pace.ts";
import { parseManifest } from "../../www/src/worker/manifest.ts";

test("the time left follows the latest steps", () => {
  const pace = new Pace(10, 0);
  expect(pace.secondsLeft()).toBeUndefined();
  // A slow first step is forgotten once five others are known.
  for (const now of [5000, 5100, 5200, 5300, 5400, 5500]) pace.step(now);
  expect(pace.secondsLeft()).toBeCloseTo(0.4);
});

for (const [seconds, text] of [
  [0, "0.0 s"],
  [3.14, "3.1 s"],
  [9.96, "10 s"],
  [59.6, "1 min 0 s"],
  [125, "2 min 5 s"],
] as const) {
  test(`${seconds} seconds are "${text}"`, () => expect(duration(seconds)).toBe(text));
}

test("sizes are in decimal megabytes", () => expect(megabytes(36_412_000)).toBe("36.4 MB"));

test("errors keep their code and message on the way between threads", () => {
  const engineError = Object.assign(new Error("no"), { name: "EaselError", code: "bad_prompt" });
  const there = fromWire(toWire(engineError));
  expect(there).toBeInstanceOf(EaselError);
  expect([there.code, there.message]).toEqual(["bad_prompt", "no"]);
  expect(asEaselError("text").code).toBe("internal");
});

const sha256 = "0".repeat(64);
for (const { text, fault } of [
  { text: "{", fault: "is not JSON" },
  { text: "[]", fault: "version 1" },
  { text: '{"version":2,"files":[]}', fault: "version 1" },
  { text: '{"version":1,"files":[null]}', fault: "files[0].path" },
  { text: JSON.stringify({ version: 1, files: [{ path: "a", size: 1.5, sha256 }] }), fault: "files[0].size" },
  {
    text: JSON.stringify({ version: 1, files: [{ path: "a", size: 1, sha256: "x" }] }),
    fault: "files[0].sha256",
  },
]) {
  test(`the manifest ${text} is refused`, () => {
    expect(() => parseManifest(text)).toThrow(fault);
  });
}

const HOSTS = ["https://models.example"];
for (const { query, model } of [
  { query: "", model: "https://easel.example/app/models/starter/" },
  { query: "?model=models/other", model: "https://easel.example/app/models/other/" },
  { query: "?model=/m/", model: "https://easel.example/m/" },
  { query: "?model=https://models.example/a", model: "https://models.example/a/" },
]) {
  test(`"${query}" names ${model}`, () => {
    expect(readLocation(new URL(`https://easel.example/app/${query}`), HOSTS).model.href).toBe(model);
  });
}

for (const query of [
  "?model=https://other.example/a",
  "?model=//other.example",
  "?model=data:text/plain,",
  "?model=http://[",
]) {
  test(`"${query}" is refused`, () => {
    expect(() => readLocation(new URL(`https://easel.example/app/${query}`), HOSTS)).toThrow("not on a host");
  });
}
