// Fetching, keeping and checking a model's files, with the scripted engine.
import type { Page, Route } from "@playwright/test";
import { EaselPage, expect, site, test } from "./easel_page.ts";
import { flipKeptByte } from "./kept_damage.ts";

const UNET = "unet/diffusion_pytorch_model.safetensors";
const PAGE = "?device=cpu";
const CHUNK = 4 << 20;

async function open(easel: EaselPage): Promise<void> {
  await easel.page.goto(site("scripted", PAGE));
  await easel.get();
}

/** Lets the first request for a file be answered with other bytes; later ones are honest. */
async function damageOnce(page: Page, path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const damage = async (route: Route) => {
    const answer = await route.fetch();
    await route.fulfill({
      status: 200,
      contentType: "application/octet-stream",
      body: change(await answer.body()),
    });
  };
  await page.route(`**/${path}`, damage, { times: 1 });
}

/** Range headers of requests for a file, as they come. */
function requests(page: Page, path: string): (string | undefined)[] {
  const ranges: (string | undefined)[] = [];
  page.on("request", (request) => {
    if (request.url().endsWith(path)) ranges.push(request.headers().range);
  });
  return ranges;
}

const DAMAGES = [
  {
    name: "one bit differs",
    change: (bytes: Buffer) => {
      const middle = bytes.length >> 1;
      bytes[middle] = (bytes[middle] ?? 0) ^ 1;
      return bytes;
    },
  },
  { name: "the end is missing", change: (bytes: Buffer) => bytes.subarray(0, -100) },
  { name: "nothing came", change: () => Buffer.alloc(0) },
  {
    name: "there is more than there should be",
    change: (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(9)]),
  },
];

for (const { name, change } of DAMAGES) {
  test(`a download in which ${name} is not taken, and fetched again at once`, async ({ easel }) => {
    const asked = requests(easel.page, UNET);
    await damageOnce(easel.page, UNET, change);
    await open(easel);
    await easel.ready();
    expect(asked.length).toBeGreaterThan(1);
  });
}

for (const { status, body, contentType, code } of [
  { status: 200, body: "<!doctype html><p>Not here", contentType: "text/html", code: "not_a_model_file" },
  { status: 403, body: "", contentType: "text/plain", code: "forbidden" },
  { status: 500, body: "", contentType: "text/plain", code: "http" },
]) {
  test(`${status} with ${contentType} in place of a file is a ${code}`, async ({ easel }) => {
    await easel.page.route(`**/${UNET}`, (route) => route.fulfill({ status, body, contentType }));
    await open(easel);
    await expect(easel.alert).toContainText(UNET);
    await expect(easel.alert).toContainText(code);
  });
}

for (const absent of [
  { status: 404 },
  { status: 403 },
  { status: 200, body: "<!doctype html><p>Not here", contentType: "text/html" },
]) {
  test(`${absent.status} ${absent.contentType ?? ""} for what a model without a manifest may lack is absence`, async ({
    easel,
  }) => {
    for (const path of ["manifest.json", `${UNET}.index.json`]) {
      await easel.page.route(`**/${path}`, (route) => route.fulfill(absent));
    }
    await open(easel);
    await easel.ready();
  });
}

test("two tabs on a first visit fetch each file once", async ({ easel, context }) => {
  const fetched: string[] = [];
  context.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  const pages = [easel, new EaselPage(await context.newPage())];
  await Promise.all(pages.map(open));
  await Promise.all(pages.map((tab) => tab.ready()));
  expect(fetched.filter((path) => path.endsWith(UNET))).toHaveLength(1);
});

test("a connection that breaks is a network error with the file's name", async ({ easel }) => {
  await easel.page.route(`**/${UNET}`, (route) => route.abort("connectionreset"));
  await open(easel);
  await expect(easel.alert).toContainText(UNET);
  await expect(easel.alert).toContainText("network");
});

test("a manifest that is no manifest is refused", async ({ easel }) => {
  const body = JSON.stringify({ version: 1, files: [{ path: "a", size: -1, sha256: "" }] });
  await easel.page.route("**/manifest.json", (route) =>
    route.fulfill({ body, contentType: "application/json" }),
  );
  await open(easel);
  await expect(easel.alert).toContainText("files[0].size");
  await expect(easel.alert).toContainText("bad_manifest");
});

test("the second visit fetches no model file", async ({ easel }) => {
  await open(easel);
  await easel.ready();
  const fetched: string[] = [];
  easel.page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  await easel.page.reload();
  await easel.ready();
  expect(fetched.filter((path) => path.includes("/models/"))).toEqual(["/models/starter/manifest.json"]);
});

for (const manifest of [true, false]) {
  test(`loads without the network ${manifest ? "with" : "without"} a manifest`, async ({
    easel,
    context,
  }) => {
    const { page } = easel;
    if (!manifest) await page.route("**/manifest.json", (route) => route.fulfill({ status: 404 }));
    await open(easel);
    await easel.ready();
    await serviceWorkerReady(page);
    await page.unrouteAll();
    await context.setOffline(true);
    await page.reload();
    await easel.ready();
    await easel.button.click();
    await expect(easel.download).toBeVisible();
  });
}

async function serviceWorkerReady(page: Page): Promise<void> {
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
  });
}

test("a file that changed on the server is fetched again", async ({ easel }) => {
  await open(easel);
  await easel.ready();
  const changed = Buffer.from("{}");
  const sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
  await easel.page.route("**/manifest.json", async (route) => {
    const document = await (await route.fetch()).json();
    const file = document.files.find((entry: { path: string }) => entry.path === "unet/config.json");
    Object.assign(file, { size: changed.length, sha256 });
    await route.fulfill({ json: document });
  });
  const body = { body: changed, contentType: "application/json" };
  await easel.page.route("**/unet/config.json", (route) => route.fulfill(body));
  const request = easel.page.waitForRequest("**/unet/config.json");
  await easel.page.reload();
  await request;
  await easel.ready();
});

test("a kept chunk that went bad is fetched anew, and nothing else", async ({ easel }) => {
  await open(easel);
  await easel.ready();
  await easel.page.evaluate(flipKeptByte, UNET);
  const asked = requests(easel.page, UNET);
  await easel.page.reload();
  await easel.ready();
  expect(asked).toEqual([`bytes=${CHUNK}-${2 * CHUNK - 1}`]);
});

test("a kept chunk that went bad and cannot be fetched is named", async ({ easel }) => {
  await open(easel);
  await easel.ready();
  await easel.page.evaluate(flipKeptByte, UNET);
  await easel.page.route(`**/${UNET}`, (route) => route.abort("connectionreset"));
  await easel.page.reload();
  await expect(easel.alert).toContainText(UNET);
  await expect(easel.alert).toContainText("damaged_file");
  await easel.page.unrouteAll();
  await easel.button.click();
  await easel.ready();
});

test("a full disk is explained", async ({ easel }) => {
  const session = await easel.page.context().newCDPSession(easel.page);
  await easel.page.goto(site("scripted", "icon.svg"));
  const { origin } = new URL(site("scripted"));
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 8 << 20 });
  await open(easel);
  await expect(easel.alert).toContainText(/no room .* needs \d+\.\d MB more/);
  await expect(easel.alert).toContainText("quota");
});
