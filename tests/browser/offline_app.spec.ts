// The page as an app: what browsers ask of one that can be installed, new versions, and pictures from other apps.
import { readFileSync } from "node:fs";
import type { Page, Route } from "@playwright/test";
import { EaselPage, expect, site, test } from "./easel_page.ts";
import { inRoot, Site } from "./embedding_site.ts";

const BUILT = inRoot("build", "scripted");
const WEIGHTS = "**/*.safetensors";

/** Waits until the page is kept for use without a network. */
function kept(page: Page): Promise<void> {
  return page.evaluate(async () => {
    const { active } = await navigator.serviceWorker.ready;
    while (active && active.state !== "activated") {
      await new Promise((resolve) => active.addEventListener("statechange", resolve, { once: true }));
    }
  });
}

/** Addresses of weights that the page asks for, from now on. */
function weightsAskedFor(page: Page): string[] {
  const asked: string[] = [];
  page.on("request", (request) => {
    if (request.url().endsWith(".safetensors")) asked.push(request.url());
  });
  return asked;
}

async function open(easel: EaselPage, address: string): Promise<void> {
  await easel.page.goto(`${address}?device=cpu`);
  await easel.ready();
  await kept(easel.page);
}

test("can be installed", async ({ easel, context }) => {
  await open(easel, site("scripted"));
  const devtools = await context.newCDPSession(easel.page);
  const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
  // Contexts of tests are like private windows, from which nothing is installed.
  expect(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito")).toEqual([]);
  const { errors, data } = await devtools.send("Page.getAppManifest");
  expect(errors).toEqual([]);
  const { icons } = JSON.parse(data ?? "{}");
  for (const { src, sizes, type } of icons) {
    const response = await easel.page.request.get(new URL(src, site("scripted")).href);
    expect([response.status(), response.headers()["content-type"]]).toEqual([200, type]);
    if (type !== "image/png") continue;
    const bytes = await response.body();
    expect(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`).toBe(sizes);
  }
});

test("keeps all files of the page and none of a model", async ({ easel }) => {
  await open(easel, site("scripted"));
  const paths = await easel.page.evaluate(async () => {
    const caches_ = await Promise.all((await caches.keys()).map((name) => caches.open(name)));
    const requests = await Promise.all(caches_.map((cache) => cache.keys()));
    return requests.flat().map(({ url }) => new URL(url).pathname);
  });
  for (const path of ["/index.html", "/embed.html", "/manifest.webmanifest", "/icon-512.png"]) {
    expect(paths).toContain(path);
  }
  expect(paths.some((path) => /worker-.*\.js$/.test(path))).toBe(true);
  expect(paths.filter((path) => path.startsWith("/models/"))).toEqual([]);
});

/** The page in a folder of a site that can be given new versions. */
class RenewedSite {
  readonly #host: Site;
  readonly address: string;

  private constructor(host: Site) {
    this.#host = host.folder("/in/a/folder/", `${BUILT}/`);
    this.address = `${host.origin}/in/a/folder/`;
    host.put("/in/a/folder/", readFileSync(`${BUILT}/index.html`));
  }

  static async open(): Promise<RenewedSite> {
    return new RenewedSite(await Site.open());
  }

  renew(name: string): void {
    this.#host.put("/in/a/folder/sw.js", `${readFileSync(`${BUILT}/sw.js`)}\n// ${name}`);
  }

  close(): void {
    this.#host.close();
  }
}

/** Has the browser look for a new version of the page, until that waits. */
function update(page: Page): Promise<void> {
  return page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    await registration.update();
    for (let coming = registration.installing; coming; coming = registration.installing) {
      await new Promise((resolve) => coming?.addEventListener("statechange", resolve, { once: true }));
    }
  });
}

const newVersion = (page: Page) => page.getByText("A new version is ready.");

/** Presses "Reload" and waits until the page is there again. */
async function reload(page: Page): Promise<void> {
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Reload" }).click()]);
}

test("a new version waits until the user agrees", async ({ easel }) => {
  const { page } = easel;
  const host = await RenewedSite.open();
  try {
    await open(easel, host.address);
    // Controlled from the next visit on.
    await open(easel, host.address);
    await expect(newVersion(page)).toHaveCount(0);
    host.renew("another version");
    await easel.type("not lost");
    await update(page);
    await expect(newVersion(page)).toBeVisible();
    await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("not lost");
    await reload(page);
    await easel.ready();
    await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("not lost");
    await expect(newVersion(page)).toHaveCount(0);
    const state = await page.evaluate(async () => {
      const { active, waiting } = await navigator.serviceWorker.ready;
      return [active?.state, waiting];
    });
    expect(state).toEqual(["activated", null]);
  } finally {
    host.close();
  }
});

test("a version that one tab takes is offered in the others, where a picture is drawn to its end", async ({
  easel,
  context,
}) => {
  const other = new EaselPage(await context.newPage());
  const host = await RenewedSite.open();
  try {
    await open(easel, host.address);
    await open(easel, host.address);
    await open(other, host.address);
    host.renew("second");
    await update(easel.page);
    await expect(newVersion(easel.page)).toBeVisible();
    // What the bar was shown for is not what waits any more.
    host.renew("third");
    await update(easel.page);
    await expect(newVersion(other.page)).toBeVisible();
    await other.page.evaluate(() => document.getElementById("update")?.remove());
    await other.set({ Steps: "150" });
    await other.button.click();
    await expect(other.page.locator("body")).toHaveAttribute("data-state", "running");
    await reload(easel.page);
    await expect(newVersion(other.page)).toBeVisible();
    await expect(other.page.locator("body")).toHaveAttribute("data-state", "running");
    await expect(other.download).toBeVisible();
    await easel.ready();
    await reload(other.page);
    await other.ready();
    await expect(newVersion(other.page)).toHaveCount(0);
  } finally {
    host.close();
  }
});

test("a picture that another app shares is kept for the page; what is no picture is not", async ({
  easel,
}) => {
  const { page } = easel;
  await open(easel, site("scripted"));
  await open(easel, site("scripted"));
  const share = (type: string) =>
    page.evaluate(async (type) => {
      const form = new FormData();
      form.append("picture", new File(["bytes"], "my café.png", { type }));
      const { ok } = await fetch("share-picture", { method: "POST", body: form });
      const kept = await caches.match(new URL("shared-picture", document.baseURI));
      return { ok, text: await kept?.text(), type: kept?.headers.get("content-type") };
    }, type);
  expect((await share("text/html")).text).toBeUndefined();
  expect(await share("image/png")).toEqual({ ok: true, text: "bytes", type: "image/png" });
});

const NEEDS_NETWORK = "Needs the network until the model is here.";

test("on a connection that saves data, nothing of the model is fetched unasked", async ({ easel }) => {
  const asked = weightsAskedFor(easel.page);
  await easel.page.goto(site("scripted", "?device=cpu"));
  await expect(easel.page.getByText(NEEDS_NETWORK)).toBeVisible();
  expect(asked).toEqual([]);
  await easel.ready();
  await expect(easel.page.getByText("Ready for offline use.")).toBeVisible();
});

test.describe("on other connections", () => {
  test.use({ savesData: false });

  test("Not now ends what is fetched unasked, at later visits too", async ({ easel }) => {
    const { page } = easel;
    await page.route(WEIGHTS, () => {});
    const asked = weightsAskedFor(page);
    await page.goto(site("scripted", "?device=cpu"));
    await expect(page.getByText("For offline use:")).toBeVisible();
    await expect.poll(() => asked.length).toBe(1);
    await page.getByRole("button", { name: "Not now" }).click();
    await expect(page.getByText(NEEDS_NETWORK)).toBeVisible();
    await page.reload();
    await expect(page.getByText(NEEDS_NETWORK)).toBeVisible();
    expect(asked.length).toBe(1);
    await page.unroute(WEIGHTS);
    await easel.ready();
    await expect(page.getByText("Ready for offline use.")).toBeVisible();
  });

  test("Get model goes on with what was fetched unasked; deleted, it does not come back", async ({
    easel,
  }) => {
    const { page } = easel;
    const held: Route[] = [];
    await page.route(WEIGHTS, (route) => void held.push(route));
    await page.goto(site("scripted", "?device=cpu"));
    await expect.poll(() => held.length).toBe(1);
    await page.unroute(WEIGHTS);
    await easel.ready();
    await expect(page.getByText("Ready for offline use.")).toBeVisible();
    // What is open is not deleted.
    await page.goto(site("scripted", "?device=cpu&model=models/none/"));
    await page.getByText("Models", { exact: true }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await expect(
      page.getByRole("list", { name: "Models in this browser" }).getByRole("listitem"),
    ).toHaveCount(0);
    await page.goto(site("scripted", "?device=cpu"));
    await expect(page.getByText(NEEDS_NETWORK)).toBeVisible();
  });
});
