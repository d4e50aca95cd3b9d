// Functions of the page that need no page.
import { expect, test } from "@playwright/test";
import { modelPlaces } from "../../tools/vite/model_places.mjs";
import { readLocation } from "../../www/src/app/location.ts";
import { asEaselError, EaselError, fromWire, toWire } from "../../www/src/shared/errors.ts";
import { modelAddress, type Places } from "../../www/src/shared/model_address.ts";
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

const PLACES: Places = {
  page: new URL("https://easel.example/app/"),
  hub: new URL("https://hub.example"),
  modelBaseUrl: undefined,
  hosts: ["https://models.example", "https://hub.example", "http://localhost:*", "https://*.wide.example"],
};
for (const { text, model } of [
  { text: "models/other", model: "https://easel.example/app/models/other/" },
  { text: "/m/", model: "https://easel.example/m/" },
  { text: "../m/x", model: "https://easel.example/m/x/" },
  { text: "https://models.example/a", model: "https://models.example/a/" },
  { text: "https://models.example/a/model_index.json", model: "https://models.example/a/" },
  { text: "https://a.wide.example:443/a#b", model: "https://a.wide.example/a/" },
  { text: " owner/na.me-1 ", model: "https://hub.example/owner/na.me-1/resolve/main/" },
  { text: "https://hub.example/owner/name", model: "https://hub.example/owner/name/resolve/main/" },
  { text: "https://hub.example/owner/name/tree/fp16", model: "https://hub.example/owner/name/resolve/fp16/" },
  {
    text: "https://hub.example/owner/name/blob/refs%2Fpr%2F1/sub/model_index.json",
    model: "https://hub.example/owner/name/resolve/refs%2Fpr%2F1/sub/",
  },
  { text: "http://localhost:81/o/n/resolve/v1/", model: "http://localhost:81/o/n/resolve/v1/" },
]) {
  test(`"${text}" is the model at ${model}`, () => expect(modelAddress(text, PLACES).href).toBe(model));
}

test("no model in the page's address is the bundled one", () => {
  const { model, bundled } = readLocation(new URL("https://easel.example/app/?device=cpu"), PLACES);
  expect([model.href, bundled]).toEqual(["https://easel.example/app/models/starter/", true]);
});

test("a site's own folder of models can stand for the hub", () => {
  const modelBaseUrl = new URL("https://easel.example/mirror/");
  expect(modelAddress("owner/name", { ...PLACES, modelBaseUrl }).href).toBe(
    "https://easel.example/mirror/owner/name/",
  );
});

for (const { text, code } of [
  { text: "https://other.example/a", code: "model_host" },
  { text: "//other.example", code: "model_host" },
  { text: "https://wide.example/a", code: "model_host" },
  { text: "http://models.example/a", code: "model_host" },
  { text: "data:text/plain,", code: "model_host" },
  { text: "http://[", code: "model_address" },
  { text: "https://name:secret@models.example/a", code: "model_address" },
]) {
  test(`the model "${text}" is refused as ${code}`, () => {
    expect(() => modelAddress(text, PLACES)).toThrow(expect.objectContaining({ code }));
  });
}

test("the hosts of a build follow its environment", () => {
  expect(modelPlaces({}).hosts).toEqual([
    "https://huggingface.co",
    "https://*.huggingface.co",
    "https://*.hf.co",
  ]);
  expect(modelPlaces({ EASEL_HUB: "https://mirror.example/hub/" }).hosts).toEqual(["https://mirror.example"]);
  expect(modelPlaces({ EASEL_MODEL_BASE_URL: "mirror/" }).hosts).toEqual([]);
  const more = modelPlaces({ EASEL_MODEL_BASE_URL: "https://m.example/a/", EASEL_MODEL_HOSTS: "https:" });
  expect(more.hosts).toEqual(["https://m.example", "https:"]);
});
