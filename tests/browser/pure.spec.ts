// Functions of the page that need no page.
import { expect, test } from "@playwright/test";
import { modelPlaces } from "../../tools/vite/model_places.mjs";
import { readLocation } from "../../www/src/app/location.ts";
import { asEaselError, EaselError, fromWire, toWire } from "../../www/src/shared/errors.ts";
import { loraName, loraNames, loraStrength, withLora } from "../../www/src/shared/lora_tags.ts";
import { localAddress, modelAddress, type Places } from "../../www/src/shared/model_address.ts";
import { duration, megabytes, Pace } from "../../www/src/shared/pace.ts";
import { shardPaths } from "../../www/src/worker/layout.ts";
import { parseManifest } from "../../www/src/worker/manifest.ts";
import { licenceOf } from "../../www/src/worker/model_card.ts";
import { PATIENCE, Retries, requestedDelay, Transient } from "../../www/src/worker/retries.ts";
import { packedFormats } from "../../www/src/worker/safetensors.ts";
import { readTar, TAR_END, tarHeader, tarPadding } from "../../www/src/worker/tar.ts";

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

for (const [prompt, name, strength, expected] of [
  ["a fox", "x", 0.5, "a fox <lora:x:0.5>"],
  ["", "x", 1, "<lora:x:1>"],
  ["a <lora:x> fox", "x", 0.5, "a <lora:x:0.5> fox"],
  ["a fox <lora:y:0.3><lyco:x:2><lora:x:1>", "x", 0.5, "a fox <lora:y:0.3><lora:x:0.5>"],
  ["a fox <lora:x:0.5>", "x", 0, "a fox"],
  ["a fox <lora:xy:0.5>", "x", 0, "a fox <lora:xy:0.5>"],
] as const) {
  test(`"${prompt}" with ${name} at ${strength} is "${expected}"`, () => {
    const found = withLora(prompt, name, strength);
    expect(found).toBe(expected);
    expect(loraStrength(found, name)).toBe(strength);
    expect(loraNames(found).has(name)).toBe(strength !== 0);
  });
}

test("names of LoRAs are those of their files, without what a tag cannot hold", () => {
  expect(["my style.safetensors", "a:b<c>.SAFETENSORS", ".safetensors"].map(loraName)).toEqual([
    "my style",
    "a_b_c_",
    "lora",
  ]);
});

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
  ...["../a", "/a", "a//b", "a/..", "", "."].map((path) => ({
    text: JSON.stringify({ version: 1, files: [{ path, size: 1, sha256 }] }),
    fault: "files[0].path",
  })),
  {
    text: JSON.stringify({
      version: 1,
      files: [{ path: "a", size: 9, sha256, chunk_size: 4, chunk_sha256: [sha256] }],
    }),
    fault: "files[0].chunk_sha256",
  },
  {
    text: JSON.stringify({
      version: 1,
      files: [{ path: "a", size: 9, sha256, chunk_size: 0, chunk_sha256: [] }],
    }),
    fault: "files[0].chunk_size",
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
  {
    text: "owner/name/resolve/v1/sub/x.safetensors",
    model: "https://hub.example/owner/name/resolve/v1/sub/x.safetensors",
  },
  {
    text: "https://hub.example/owner/name/blob/main/x.safetensors?download=true",
    model: "https://hub.example/owner/name/resolve/main/x.safetensors",
  },
  { text: "https://models.example/x.safetensors?key=1", model: "https://models.example/x.safetensors?key=1" },
  { text: "local:/0123456789abcdef/my%20model/", model: "local:/0123456789abcdef/my%20model/" },
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
  { text: "local:/0123456789abcdef/%2e%2e/", code: "model_host" },
  { text: "local:/x/", code: "model_host" },
  { text: "https://models.example/x.ckpt", code: "model_address" },
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

for (const { name, kind, model } of [
  { name: "my model", kind: "folder", model: "local:/f/my%20model/" },
  { name: "../a/b", kind: "folder", model: "local:/f/_a_b/" },
  { name: "..", kind: "folder", model: "local:/f/model/" },
  { name: "x\ud800?.safetensors", kind: "file", model: "local:/f/x__.safetensors" },
] as const) {
  test(`the ${kind} ${JSON.stringify(name)} is the model at ${model}`, () =>
    expect(localAddress("f", name, kind).href).toBe(model));
}

test("an archive holds long paths and large files", async () => {
  const path = `${"a".repeat(90)}/${"b".repeat(90)}`;
  const file = new Blob([tarHeader({ path, size: 3 }), "abc", new Uint8Array(tarPadding(3)), TAR_END]);
  const [entry, ...others] = await readTar(file);
  expect([entry?.path, await entry?.file.text(), others]).toEqual([path, "abc", []]);
  const size = 9 * 2 ** 30;
  expect(Buffer.from(tarHeader({ path, size })).readBigUInt64BE(128)).toBe(BigInt(size));
  expect(() => tarHeader({ path: "a".repeat(101), size })).toThrow("too long a path");
  await expect(readTar(new Blob([tarHeader({ path, size })]))).rejects.toThrow("cut off");
});

for (const { header, delay } of [
  { header: null, delay: undefined },
  { header: "7", delay: 7000 },
  { header: "Thu, 01 Jan 1970 00:00:09 GMT", delay: 8000 },
  { header: "Thu, 01 Jan 1970 00:00:00 GMT", delay: 0 },
  { header: "soon", delay: undefined },
]) {
  test(`Retry-After: ${header} asks for ${delay} ms`, () => expect(requestedDelay(header, 1000)).toBe(delay));
}

const SHORT = {
  attempts: 3,
  lostConnections: 6,
  firstDelayMs: 1,
  longestDelayMs: 2,
  longestRequestedMs: 50,
  stallMs: 100,
};

test("what may pass is tried again, so often without progress, and no other failure is", async () => {
  const { signal } = new AbortController();
  const retries = new Retries(SHORT, signal);
  const failure = new Transient("http", "busy");
  for (let round = 0; round < 4; round += 1) {
    await retries.after(failure);
    await retries.after(failure);
    retries.progress();
  }
  await retries.after(failure);
  await retries.after(failure);
  await expect(retries.after(failure)).rejects.toBe(failure);
  const final = new EaselError("forbidden", "no");
  await expect(new Retries(SHORT, signal).after(final)).rejects.toBe(final);
  const long = new Transient("http", "later", { requestedMs: 51 });
  await expect(new Retries(SHORT, signal).after(long)).rejects.toBe(long);
  const start = performance.now();
  await new Retries(SHORT, signal).after(new Transient("http", "later", { requestedMs: 40 }));
  expect(performance.now() - start).toBeGreaterThan(38);
  await expect(new Retries(SHORT, AbortSignal.abort()).after(failure)).rejects.toThrow("stopped");
});

/** Stands in for what a worker knows of the network, until `work` has ended. */
async function withNetwork(
  work: (network: EventTarget & { onLine: boolean }) => Promise<void>,
): Promise<void> {
  const network = Object.assign(new EventTarget(), { onLine: true });
  const feigned = {
    navigator: network,
    addEventListener: network.addEventListener.bind(network),
    removeEventListener: network.removeEventListener.bind(network),
  };
  const before = Object.keys(feigned).map(
    (name) => [name, Reflect.getOwnPropertyDescriptor(globalThis, name)] as const,
  );
  for (const [name, value] of Object.entries(feigned)) {
    Object.defineProperty(globalThis, name, { value, configurable: true });
  }
  try {
    await work(network);
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor) Reflect.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
  }
}

test("once bytes have come, lost connections are borne for longer than what a host answers", async () => {
  const { signal } = new AbortController();
  const lost = new Transient("network", "gone");
  const busy = new Transient("http", "busy");
  const failures = async (retries: Retries, thrown: Transient) => {
    for (let count = 1; ; count += 1) if (await retries.after(thrown).catch(() => true)) return count;
  };
  await withNetwork(async () => {
    expect(await failures(new Retries(SHORT, signal), lost)).toBe(3);
    const begun = new Retries(SHORT, signal);
    begun.progress();
    for (let count = 1; count < 6; count += 1) await begun.after(lost);
    // A host that is back may be busy at first.
    expect(await failures(begun, busy)).toBe(3);
    begun.progress();
    expect(await failures(begun, lost)).toBe(6);
  });
});

test("in the page, lost connections are borne for two minutes at least", () => {
  const { firstDelayMs, longestDelayMs, lostConnections } = PATIENCE;
  const delays = Array.from({ length: lostConnections - 1 }, (_, number) =>
    Math.min(longestDelayMs, firstDelayMs * 2 ** number),
  );
  // Half of each is random.
  const shortest = delays.reduce((sum, delay) => sum + delay / 2, 0);
  expect(shortest).toBeGreaterThan(120_000);
});

test("while the browser says that there is no network, a download waits for it, until it is stopped", async () => {
  const slow = { ...SHORT, longestDelayMs: 60_000 };
  const stop = new AbortController();
  const lost = new Transient("network", "gone");
  await withNetwork(async (network) => {
    network.onLine = false;
    const retries = new Retries(slow, stop.signal);
    retries.progress();
    for (let count = 0; count < 10; count += 1) {
      const waiting = retries.after(lost);
      network.dispatchEvent(new Event("online"));
      await waiting;
    }
    const waiting = retries.after(lost);
    stop.abort();
    await expect(waiting).rejects.toThrow("stopped");
  });
});

const CARD_MODEL = {
  hub: new URL("https://hub.example/"),
  owner: "o",
  name: "n",
  revision: "main",
  folder: "",
};
for (const { card, licence } of [
  { card: "# no front matter\nlicense: mit", licence: undefined },
  { card: "---\nlicense: mit\n---\n", licence: { name: "mit", link: "https://hub.example/o/n" } },
  {
    card: "---\r\ntags: [a]\r\nlicense: other\r\nlicense_name: 'x y'\r\nlicense_link: LICENSE\r\n---",
    licence: { name: "x y", link: "https://hub.example/o/n/blob/main/LICENSE" },
  },
  {
    card: "---\nlicense: other\nlicense_link: javascript:alert(1)\n---",
    licence: { name: "other", link: "https://hub.example/o/n" },
  },
]) {
  test(`the licence of the card ${JSON.stringify(card)}`, () =>
    expect(licenceOf(card, CARD_MODEL)).toEqual(licence));
}

for (const { index, fault } of [
  { index: '{"weight_map": {"a": "../b.safetensors"}}', fault: "weight_map" },
  { index: '{"weight_map": {"a": "b.bin"}}', fault: "weight_map" },
  { index: "{}", fault: "weight_map" },
  { index: "[]", fault: "no JSON object" },
]) {
  test(`the index ${index} is refused`, () =>
    expect(() => shardPaths("unet/x.index.json", index)).toThrow(fault));
}

for (const { metadata, formats } of [
  { metadata: undefined, formats: [] },
  { metadata: { format: "pt" }, formats: [] },
  { metadata: { packed_weights: '{"a":{"quant":"q8","shape":[4,4]}}' }, formats: ["q8"] },
  { metadata: { packed_weights: '{"a":{"quant":"q4"},"b":{"quant":"q8"},"c":{}}' }, formats: ["q8", "q4"] },
  { metadata: { packed_weights: '{"a":{"quant":"q9"}}' }, formats: [] },
  { metadata: { packed_weights: '{"a":null}' }, formats: [] },
  { metadata: { packed_weights: "{" }, formats: [] },
  { metadata: null, formats: [] },
]) {
  test(`a header with ${JSON.stringify(metadata)} is of weights packed to [${formats}]`, () => {
    const json = JSON.stringify({ __metadata__: metadata });
    const header = Buffer.concat([Buffer.alloc(8), Buffer.from(json)]);
    expect(packedFormats(header)).toEqual(formats);
  });
}
