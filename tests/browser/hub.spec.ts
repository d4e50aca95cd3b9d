// Models of a hub in the page: found, pinned, gated, listed, checked and deleted.
import { randomBytes } from "node:crypto";
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { FaultServer, type Hosted, type Mounted } from "./fault_server.ts";
import { flipKeptByte } from "./kept_damage.ts";
import { weightsNamed } from "./local_folder.ts";
import { openLab } from "./trials.ts";

const CHUNK = 4 << 20;
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const HALF = "unet/diffusion_pytorch_model.fp16.safetensors";
const FULL = "unet/diffusion_pytorch_model.safetensors";
const CARD = "---\nlicense: other\nlicense_name: sample-licence\nlicense_link: LICENSE.md\n---\n# Sample\n";
const INDEX = {
  _class_name: "StableDiffusionPipeline",
  scheduler: ["diffusers", "DDIMScheduler"],
  unet: ["diffusers", "UNet2DConditionModel"],
  safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"],
};

let server: FaultServer;
test.beforeEach(async () => {
  server = new FaultServer();
  await server.open();
});
test.afterEach(() => server.close());

function hosted(more: Partial<Hosted> = {}): Hosted {
  const files = new Map([
    ["README.md", Buffer.from(CARD)],
    ["model_index.json", Buffer.from(JSON.stringify(INDEX))],
    ["scheduler/scheduler_config.json", Buffer.from("{}")],
    ["unet/config.json", Buffer.from("{}")],
    [HALF, randomBytes(2 * CHUNK + 1000)],
    [FULL, randomBytes(3 * CHUNK)],
  ]);
  return { kind: "hub", files, faults: new Map(), commit: COMMIT, ...more };
}

/** Follows a link to a model and asks for it. */
async function open({ page, button }: EaselPage, address: string): Promise<void> {
  await page.goto(site("scripted", `?device=cpu&model=${encodeURIComponent(address)}`));
  await expect(button).toHaveText(/^Get model/);
  await button.click();
}

/** Opens the panel "Models". */
async function showModels({ page }: EaselPage) {
  for (const panel of ["#models", "#model-more"]) {
    const isOpen = await page.locator(panel).evaluate((details: HTMLDetailsElement) => details.open);
    if (!isOpen) await page.locator(`${panel} > summary`).click();
  }
  return page.getByRole("list", { name: "Models in this browser" });
}

const ranges = ({ seen }: Mounted, file: string) =>
  seen.filter(({ path, range }) => path.endsWith(file) && range !== "bytes=0-0").map(({ range }) => range);

test("a model is found without a manifest, its halves preferred, by plain requests", async ({ easel }) => {
  const mounted = server.mount("acme/tiny", hosted());
  await open(easel, server.address("acme/tiny"));
  await easel.ready();
  expect(new Set(mounted.seen.map(({ method }) => method))).toEqual(new Set(["GET"]));
  expect(mounted.seen.filter(({ path }) => path.endsWith(FULL))).toEqual([]);
  const whole = mounted.seen.filter(({ path, origin }) => path.endsWith(HALF) && origin === "storage");
  expect(whole.map(({ path, range }) => [path, range])).toEqual([
    [`resolve/${COMMIT}/${HALF}`, "bytes=0-0"],
    [`resolve/${COMMIT}/${HALF}`, undefined],
  ]);
});

test("a link fetches nothing before the user asks", async ({ easel }) => {
  const mounted = server.mount("acme/tiny", hosted());
  const model = encodeURIComponent(server.address("acme/tiny"));
  await easel.page.goto(site("scripted", `?device=cpu&model=${model}`));
  await expect(easel.page.getByRole("status")).toHaveText("acme/tiny is not in this browser yet");
  expect(mounted.seen).toEqual([]);
});

test("a model that the user names is offered with its size", async ({ easel }) => {
  const mounted = server.mount("acme/tiny", hosted());
  const { page } = easel;
  await page.goto(site("scripted", "?device=cpu"));
  await showModels(easel);
  await page.getByLabel(/owner\/name on the hub/).fill(server.address("acme/tiny"));
  await page.locator("#open-model").getByRole("button", { name: "Open", exact: true }).click();
  await expect(page.getByRole("status").first()).toHaveText("acme/tiny is not in this browser yet");
  await expect(easel.button).toHaveText(/^Get model \(8\.\d MB\)$/);
  expect(ranges(mounted, HALF)).toEqual([]);
  await easel.ready();
});

test("a kept model stays at its commit and needs no host", async ({ easel }) => {
  const mounted = server.mount("acme/tiny", hosted());
  await open(easel, server.address("acme/tiny"));
  await easel.ready();
  server.mount("acme/tiny", hosted({ commit: "f".repeat(40) }));
  const before = mounted.seen.length;
  await easel.page.reload();
  await easel.ready();
  expect(mounted.seen.length).toBe(before);
});

test("an unfinished download goes on at its commit where it was", async ({ easel }) => {
  const first = hosted({ holdAfter: CHUNK + CHUNK / 2 });
  const mounted = server.mount("acme/tiny", first);
  await open(easel, server.address("acme/tiny"));
  await mounted.held;
  await expect(easel.button).toHaveText("Pause");
  await easel.button.click();
  await expect(easel.alert).toContainText("what has arrived is kept");
  delete first.holdAfter;
  first.commit = COMMIT;
  await easel.button.click();
  await easel.ready();
  expect(ranges(mounted, HALF)).toContain(`bytes=${CHUNK}-${2 * CHUNK + 999}`);
});

/** A checkpoint's header, or another file's, with bytes after it. */
function oneFile(tensors: string[]): Hosted {
  const file = Buffer.concat([weightsNamed(tensors), randomBytes(CHUNK)]);
  return hosted({
    files: new Map([
      ["README.md", Buffer.from(CARD)],
      ["sub/one.safetensors", file],
    ]),
  });
}

test("a checkpoint is looked at, pinned to its commit, and kept with its hub's hash", async ({ easel }) => {
  const networks = ["model.diffusion_model.a", "cond_stage_model.b", "first_stage_model.c"];
  // Merging tools leave such names behind.
  const left = "lora_unet_down.lora_up.weight";
  const mounted = server.mount("acme/one", oneFile([...networks, left]));
  await open(easel, `${server.address("acme/one")}sub/one.safetensors`);
  await easel.ready();
  const row = (await showModels(easel)).getByRole("listitem").filter({ hasText: "acme/one/one.safetensors" });
  await expect(row).toContainText(/complete · .* · commit 0123456 · licence sample-licence/);
  const fetched = mounted.seen.filter(({ origin }) => origin === "storage");
  expect(new Set(fetched.map(({ path }) => path))).toEqual(
    new Set([`resolve/${COMMIT}/sub/one.safetensors`]),
  );
  expect(fetched.map(({ range }) => range)).toEqual([
    "bytes=0-0",
    "bytes=0-7",
    expect.any(String),
    undefined,
  ]);
});

test("a LoRA in the place of a checkpoint is refused by its header", async ({ easel }) => {
  const mounted = server.mount("acme/one", oneFile(["lora_unet_down.lora_up.weight"]));
  await open(easel, `${server.address("acme/one")}sub/one.safetensors`);
  await expect(easel.alert).toContainText("one.safetensors is a LoRA");
  // The hub's pointer, which is small, has the file's name too.
  const fetched = mounted.seen.filter(({ origin }) => origin === "storage");
  expect(fetched.map(({ range }) => range)).not.toContain(undefined);
});

test("a gated model asks for a token, which its hub alone sees", async ({ easel }) => {
  const secret = "hf_secretsecret";
  const mounted = server.mount("acme/gated", hosted({ token: secret }));
  const { page } = easel;
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  await open(easel, server.address("acme/gated"));
  await expect(easel.alert).toContainText("acme/gated asks its users to accept terms");
  await expect(easel.alert).toContainText("access token");
  await expect(page.getByLabel("Access token")).toBeVisible();
  await page.getByLabel("Access token").fill("hf_wrong");
  await page.locator("#open-model").getByRole("button", { name: "Open", exact: true }).click();
  await expect(easel.alert).toContainText(/accept/);
  await page.getByLabel("Access token").fill(secret);
  await page.locator("#open-model").getByRole("button", { name: "Open", exact: true }).click();
  await easel.ready();
  const storage = mounted.seen.filter(({ origin }) => origin === "storage");
  expect(storage.length).toBeGreaterThan(0);
  expect(storage.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
  const kept = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href]),
  );
  expect([kept, await page.content(), ...said].join()).not.toContain("hf_");
});

for (const keep of [true, false]) {
  test(`a token is ${keep ? "kept" : "forgotten"} over a reload when so chosen`, async ({ easel }) => {
    server.mount("acme/gated", hosted({ token: "hf_secret" }));
    const { page } = easel;
    await open(easel, server.address("acme/gated"));
    await expect(easel.alert).toContainText("accept terms");
    await showModels(easel);
    await page.getByLabel("Access token").fill("hf_secret");
    await page.getByLabel("Keep it until this tab is closed").setChecked(keep);
    await page.locator("#open-model").getByRole("button", { name: "Open", exact: true }).click();
    await easel.ready();
    await page.reload();
    await easel.ready();
    await showModels(easel);
    await expect(page.getByText("A token for localhost")).toBeVisible({ visible: keep });
    if (!keep) return;
    await page.getByRole("button", { name: "Forget it" }).click();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  });
}

test("a token given for one hub is not sent to another", async ({ easel }) => {
  const other = new FaultServer();
  await other.open();
  try {
    server.mount("acme/gated", hosted({ token: "hf_secret" }));
    await open(easel, server.address("acme/gated"));
    await expect(easel.alert).toContainText("accept terms");
    await showModels(easel);
    await easel.page.getByLabel("Access token").fill("hf_secret");
    await easel.page.locator("#open-model").getByRole("button", { name: "Open", exact: true }).click();
    await easel.ready();
    const mounted = other.mount("acme/lure", hosted());
    await easel.page.getByLabel("owner/name").fill(other.address("acme/lure"));
    await easel.page.locator("#open-model").getByRole("button", { name: "Open", exact: true }).click();
    await easel.ready();
    expect(ranges(mounted, HALF).length).toBeGreaterThan(0);
    expect(mounted.seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
  } finally {
    other.close();
  }
});

test("a model that is not there is not asked for twice, and the sentence says what to check", async ({
  easel,
}) => {
  const mounted = server.mount("acme/tiny", hosted());
  for (const { name, says } of [
    { name: "acme/tiny/resolve/v9/", says: "acme/tiny has no revision `v9`" },
    { name: "acme/absent/resolve/main/", says: "shows no model acme/absent: check the spelling" },
    { name: "acme/tiny/resolve/main/sub/", says: "There is no model_index.json" },
  ]) {
    await open(easel, `${server.origin}/${name}`);
    await expect(easel.alert).toContainText(says);
  }
  expect(mounted.seen.map(({ path }) => path)).toEqual([
    "resolve/v9/manifest.json",
    "resolve/main/sub/manifest.json",
    "resolve/main/sub/model_index.json",
  ]);
});

test("room is asked for before the first byte of weights", async ({ page }) => {
  const mounted = server.mount("acme/tiny", hosted());
  const worker = await openLab(page);
  const result = await worker.evaluate(
    ([address, size]) => {
      navigator.storage.estimate = async () => ({ quota: 9e6, usage: 4e6 });
      return lab.complete(address, size);
    },
    [server.address("acme/tiny"), CHUNK] as const,
  );
  expect(result).toMatch(/^quota: .* needs 8\.4 MB more, but 3\.4 MB of that is missing/);
  expect(ranges(mounted, HALF).filter((range) => range !== "bytes=0-0")).toEqual([]);
});

test("the list says what is kept and mends what went bad", async ({ easel }) => {
  const mounted = server.mount("acme/tiny", hosted());
  const { page } = easel;
  await open(easel, server.address("acme/tiny"));
  await easel.ready();
  await page.getByLabel("Prompt", { exact: true }).focus();
  const row = (await showModels(easel)).getByRole("listitem");
  await expect(row).toHaveCount(1);
  await expect(row).toContainText("acme/tiny");
  await expect(row).toContainText(/8\.4 MB/);
  await expect(row).toContainText("commit 0123456");
  const licence = row.getByRole("link", { name: "sample-licence" });
  await expect(licence).toHaveAttribute("href", `${server.origin}/acme/tiny/blob/${COMMIT}/LICENSE.md`);
  await page.screenshot({ path: "test-results/models.png", fullPage: true });
  await row.getByRole("button", { name: "Verify" }).click();
  await expect(row).toContainText("All that is here is intact");
  await page.evaluate(flipKeptByte, HALF);
  await row.getByRole("button", { name: "Verify" }).click();
  await expect(row).toContainText(`Damaged, and to be fetched again: ${HALF}`);
  await expect(row).toContainText("unfinished");
  await row.getByRole("button", { name: "Finish" }).click();
  await expect(row).toContainText("complete");
  expect(ranges(mounted, HALF).at(-1)).toBe(`bytes=${CHUNK}-${2 * CHUNK - 1}`);
});

test("a model is deleted after a second press, and not while it is fetched", async ({ easel, context }) => {
  const first = hosted({ holdAfter: CHUNK });
  const mounted = server.mount("acme/tiny", first);
  await open(easel, server.address("acme/tiny"));
  await mounted.held;
  const page = await context.newPage();
  await page.goto(site("scripted", "?device=cpu"));
  await page.locator("#models > summary").click();
  const row = page.getByRole("listitem").filter({ hasText: "acme/tiny" });
  await expect(row).toContainText("unfinished");
  await row.getByRole("button", { name: "Delete" }).click();
  await row.getByRole("button", { name: "Delete for good?" }).click();
  await expect(row).toContainText("open or being fetched");
  await easel.page.close();
  await row.getByRole("button", { name: "Delete" }).click();
  await row.getByRole("button", { name: "Delete for good?" }).click();
  await expect(row).toHaveCount(0);
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`the open panel has no accessibility faults in ${colorScheme}`, async ({ easel }) => {
    server.mount("acme/tiny", hosted());
    const { page } = easel;
    await page.emulateMedia({ colorScheme });
    await open(easel, server.address("acme/tiny"));
    await easel.ready();
    await expect((await showModels(easel)).getByRole("listitem")).toHaveCount(1);
    expect(await easel.violations()).toEqual([]);
    await page.screenshot({ path: `test-results/models-${colorScheme}.png`, fullPage: true });
  });
}
