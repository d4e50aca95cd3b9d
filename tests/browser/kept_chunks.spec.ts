// The forms that chunks are kept in, and what becomes of chunks that cannot be read.
import { HeldChunks } from "../../www/src/worker/held_chunks.ts";
import { expect, test } from "./easel_page.ts";
import { FaultServer, sha256 } from "./fault_server.ts";
import { befall, CHUNK, complete, hashOfWeights, model, testWithModel, UNET } from "./kept_model.ts";
import { Lane } from "./trials.ts";

/** What the browser of the test does with chunks; runs in the worker. */
const BROWSERS: { name: string; kept: string; prepare: () => void }[] = [
  { name: "files", kept: "file", prepare: () => {} },
  {
    name: "files that one tab at a time may read, and another one does",
    kept: "file",
    prepare: () => {
      const { createSyncAccessHandle: open } = FileSystemFileHandle.prototype;
      FileSystemFileHandle.prototype.createSyncAccessHandle = async function (options?: { mode?: string }) {
        if (options?.mode) throw new DOMException("it is open elsewhere", "NoModificationAllowedError");
        return open.call(this);
      };
    },
  },
  {
    name: "Blobs and no files",
    kept: "Blob",
    prepare: () => {
      Reflect.deleteProperty(FileSystemFileHandle.prototype, "createSyncAccessHandle");
    },
  },
  {
    name: "Blobs and refuses files",
    kept: "Blob",
    prepare: () => {
      StorageManager.prototype.getDirectory = () =>
        Promise.reject(new DOMException("not in private windows", "SecurityError"));
    },
  },
  {
    name: "Blobs and files that cannot be written",
    kept: "Blob",
    prepare: () => {
      FileSystemSyncAccessHandle.prototype.write = () => {
        throw new DOMException("the disk does not answer", "InvalidStateError");
      };
    },
  },
  {
    name: "neither files nor Blobs, as it says at once",
    kept: "ArrayBuffer",
    prepare: () => {
      Reflect.deleteProperty(FileSystemFileHandle.prototype, "createSyncAccessHandle");
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (value, key) {
        if (value.data instanceof Blob) throw new DOMException("Blobs are not supported", "DataCloneError");
        return put.call(this, value, key);
      };
    },
  },
  {
    name: "neither files nor Blobs, as it finds when it writes them",
    kept: "ArrayBuffer",
    prepare: () => {
      Reflect.deleteProperty(FileSystemFileHandle.prototype, "createSyncAccessHandle");
      const { put } = IDBObjectStore.prototype;
      const { commit } = IDBTransaction.prototype;
      const refused = new WeakSet<IDBTransaction>();
      IDBObjectStore.prototype.put = function (value, key) {
        if (value.data instanceof Blob) refused.add(this.transaction);
        return put.call(this, value, key);
      };
      IDBTransaction.prototype.commit = function () {
        return refused.has(this) ? this.abort() : commit.call(this);
      };
    },
  },
];

for (const { name, kept, prepare } of BROWSERS) {
  testWithModel(
    `a browser that keeps ${name}: a damaged chunk is fetched anew, and nothing else`,
    async ({ hosted, mounted, address, worker }) => {
      await worker.evaluate(prepare);
      expect(await complete(worker, address)).toBe("whole");
      expect(await worker.evaluate((to) => lab.formsOf(to), address)).toEqual([kept]);
      const requests = mounted.seen.length;
      expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
      expect(mounted.seen.slice(requests).filter(({ path }) => path.endsWith(UNET))).toEqual([]);
      // In its last part.
      const damage = [address, UNET, 1, CHUNK - 1] as const;
      await worker.evaluate(([to, path, index, at]) => lab.damage(to, path, [index], at), damage);
      const sent = mounted.sent;
      expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
      expect(mounted.sent - sent).toBeGreaterThanOrEqual(CHUNK);
      expect(mounted.sent - sent).toBeLessThan(2 * CHUNK);
    },
  );
}

testWithModel(
  "a damaged chunk that cannot be fetched is not given up",
  async ({ hosted, mounted, address, worker }) => {
    await complete(worker, address);
    await worker.evaluate(([to, path]) => lab.damage(to, path, [1]), [address, UNET] as const);
    hosted.token = "refuses all";
    await expect(hashOfWeights(worker, address)).rejects.toThrow(/the kept copy of .* is damaged/);
    expect(await worker.evaluate((to) => lab.isWhole(to), address)).toBe(true);
    delete hosted.token;
    // The first answer is damaged as well.
    befall(mounted, { kind: "flip", at: 0.5 }, 1);
    const sent = mounted.sent;
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    expect(mounted.sent - sent).toBe(2 * CHUNK);
  },
);

testWithModel(
  "a damaged chunk that its host has no more is planned anew with its model",
  async ({ hosted, address, worker }) => {
    await complete(worker, address);
    await worker.evaluate(([to, path]) => lab.damage(to, path, [1]), [address, UNET] as const);
    hosted.commit = "d".repeat(40);
    const failed = hashOfWeights(worker, address);
    await expect(failed).rejects.toThrow(/could not be fetched anew: .* is not on the server/);
    expect(await complete(worker, address)).toBe("whole");
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
  },
);

testWithModel(
  "a damaged chunk that two tabs meet is fetched once",
  async ({ hosted, mounted, address, worker, context }) => {
    await complete(worker, address);
    await worker.evaluate(([to, path]) => lab.damage(to, path, [1]), [address, UNET] as const);
    befall(mounted, { kind: "slow" });
    const other = await new Lane(context).worker();
    const sent = mounted.sent;
    const hashes = await Promise.all([worker, other].map((tab) => hashOfWeights(tab, address)));
    expect(hashes).toEqual([sha256(hosted.weights), sha256(hosted.weights)]);
    expect(mounted.sent - sent).toBe(CHUNK);
  },
);

testWithModel(
  "chunks that were kept as buffers, with one hash each, are read as they are",
  async ({ hosted, mounted, address, worker }) => {
    await complete(worker, address);
    await worker.evaluate((to) => lab.keepAsBefore(to), address);
    expect(await worker.evaluate((to) => lab.formsOf(to), address)).toEqual(["ArrayBuffer"]);
    const requests = mounted.seen.length;
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    expect(mounted.seen.slice(requests).filter(({ path }) => path.endsWith(UNET))).toEqual([]);
    await worker.evaluate(([to, path]) => lab.damage(to, path, [2]), [address, UNET] as const);
    const sent = mounted.sent;
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    expect(mounted.sent - sent).toBeLessThan(2 * CHUNK);
  },
);

testWithModel(
  "a Blob that the browser has lost is fetched anew, or its file is named",
  async ({ server, hosted, mounted, address, worker }) => {
    await worker.evaluate(() =>
      Reflect.deleteProperty(FileSystemFileHandle.prototype, "createSyncAccessHandle"),
    );
    await complete(worker, address);
    const lost = [CHUNK, UNET] as const;
    await worker.evaluate(([size, path]) => {
      const { arrayBuffer } = Blob.prototype;
      let isLost = true;
      Blob.prototype.arrayBuffer = async function () {
        if (this.size === size && isLost) throw new DOMException("it is gone", "NotReadableError");
        return arrayBuffer.call(this);
      };
      globalThis.noteReceived = (received) => {
        if (received === path) isLost = false;
      };
    }, lost);
    const sent = mounted.sent;
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    expect(mounted.sent - sent).toBeGreaterThanOrEqual(CHUNK);
    expect(mounted.sent - sent).toBeLessThan(2 * CHUNK);
    await worker.evaluate(() => {
      Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException("it is gone", "NotReadableError"));
    });
    server.close();
    const failed = hashOfWeights(worker, address);
    await expect(failed).rejects.toThrow(
      /the kept copy of .* is damaged.* check the network, then load again/,
    );
  },
);

testWithModel(
  "files that are gone or cut off are fetched anew",
  async ({ hosted, mounted, address, worker }) => {
    await complete(worker, address);
    const files = await worker.evaluate(async (size) => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("easel chunks");
      const whole: string[] = [];
      for await (const [name, handle] of folder) {
        if (handle instanceof FileSystemFileHandle && (await handle.getFile()).size === size)
          whole.push(name);
      }
      const [gone, cut] = whole.sort();
      if (!gone || !cut) throw new Error("there are fewer files than chunks");
      await folder.removeEntry(gone);
      const handle = await (await folder.getFileHandle(cut)).createSyncAccessHandle();
      handle.truncate(size - 1);
      handle.close();
      return whole.length;
    }, CHUNK);
    expect(files).toBe(3);
    const sent = mounted.sent;
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    expect(mounted.sent - sent).toBeGreaterThanOrEqual(2 * CHUNK);
    expect(mounted.sent - sent).toBeLessThan(3 * CHUNK);
  },
);

testWithModel("what is kept already is not gone through after a pause", async ({ address, worker }) => {
  await complete(worker, address, Math.floor(CHUNK / 12));
  await worker.evaluate(([to, path]) => lab.forgetChunk(to, path, 30), [address, UNET] as const);
  const { result, told } = await worker.evaluate((to) => lab.pause(to, 1), address);
  expect(result).toMatch(/^cancelled: the download was stopped/);
  // The two other files are whole.
  expect(told).toBe(1);
});

/** How a browser closes the connection to its storage, as iOS does; runs in the worker. */
const CLOSED: { name: string; close: () => void }[] = [
  {
    name: "without a word",
    close: () => {
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function (...args) {
        IDBDatabase.prototype.transaction = transaction;
        this.close();
        return transaction.apply(this, args);
      };
    },
  },
  {
    name: "and says so",
    close: () => {
      const { transaction } = IDBDatabase.prototype;
      let closed: IDBDatabase | undefined;
      IDBDatabase.prototype.transaction = function (...args) {
        if (closed === this) throw new DOMException("the server was lost", "UnknownError");
        if (!closed) this.dispatchEvent(new Event("close"));
        closed ??= this;
        return transaction.apply(this, args);
      };
    },
  },
];

for (const { name, close } of CLOSED) {
  testWithModel(
    `a connection that the browser closes ${name} is opened again`,
    async ({ hosted, address, worker }) => {
      await complete(worker, address);
      await worker.evaluate(close);
      expect(await worker.evaluate((to) => lab.isWhole(to), address)).toBe(true);
      expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    },
  );
}

/** How a browser does not give its files; runs in the worker. For once it may be so when they are asked for first. */
const WITHOUT_FILES: { name: string; forOnce: boolean; prepare: () => void }[] = [
  {
    name: "its folder for once",
    forOnce: true,
    prepare: () => {
      const { getDirectory } = StorageManager.prototype;
      StorageManager.prototype.getDirectory = () => {
        StorageManager.prototype.getDirectory = getDirectory;
        return Promise.reject(new DOMException("for a transient reason", "UnknownError"));
      };
    },
  },
  {
    name: "its folder",
    forOnce: false,
    prepare: () => {
      StorageManager.prototype.getDirectory = () =>
        Promise.reject(new DOMException("for a transient reason", "UnknownError"));
    },
  },
  {
    name: "its files",
    forOnce: false,
    prepare: () => {
      FileSystemDirectoryHandle.prototype.getFileHandle = () =>
        Promise.reject(new DOMException("for a transient reason", "UnknownError"));
    },
  },
  {
    name: "what is in its files",
    forOnce: false,
    prepare: () => {
      const fail = () => Promise.reject(new DOMException("for a transient reason", "InvalidStateError"));
      FileSystemFileHandle.prototype.createSyncAccessHandle = fail;
      FileSystemFileHandle.prototype.getFile = fail;
    },
  },
];

for (const { name, forOnce, prepare } of WITHOUT_FILES) {
  testWithModel(
    `a model stays whole when the browser does not give ${name}`,
    async ({ hosted, mounted, address, worker, context }) => {
      await complete(worker, address);
      const other = await new Lane(context).worker();
      await other.evaluate(prepare);
      const sent = mounted.sent;
      const read = hashOfWeights(other, address);
      if (forOnce) expect(await read).toBe(sha256(hosted.weights));
      else await expect(read).rejects.toThrow("EaselError: the browser");
      expect(await worker.evaluate((to) => lab.isWhole(to), address)).toBe(true);
      expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
      expect(mounted.sent - sent).toBe(0);
    },
  );
}

testWithModel("a disk that takes a part of a chunk is full", async ({ address, worker }) => {
  await worker.evaluate(() => {
    const { write } = FileSystemSyncAccessHandle.prototype;
    FileSystemSyncAccessHandle.prototype.write = function (data) {
      return write.call(this, (data as Uint8Array<ArrayBuffer>).subarray(0, 1000));
    };
  });
  expect(await complete(worker, address)).toMatch(/^quota: the browser has no room left to keep the model/);
});

test("files of a model go with it, and what closed tabs left of any goes at the next visit", async ({
  context,
}) => {
  const server = new FaultServer();
  await server.open();
  const addresses = ["kept/stays", "kept/goes"].map((name) => {
    server.mount(name, model());
    return server.address(name);
  });
  const [stays = "", goes = ""] = addresses;
  try {
    const lane = new Lane(context);
    const count = async () => (await lane.worker()).evaluate(() => lab.countFiles());
    for (const address of addresses) expect(await complete(await lane.worker(), address)).toBe("whole");
    const both = await count();
    await (await lane.worker()).evaluate((to) => lab.forget(to), goes);
    expect(await count()).toBe(both / 2);
    expect(await complete(await lane.worker(), goes)).toBe("whole");
    await (await lane.worker()).evaluate((to) => lab.forgetRecords(to), goes);
    await lane.kill();
    expect(await (await lane.worker()).evaluate((to) => lab.isWhole(to), stays)).toBe(true);
    expect(await count()).toBe(both / 2);
    expect(await complete(await lane.worker(), stays)).toBe("whole");
    const writing = new Lane(context);
    await (await writing.worker()).evaluate(async (address) => {
      await lab.forgetChunk(address, "unet/config.json", 0);
      void navigator.locks.request(`easel writes ${address}`, () => new Promise(() => {}));
    }, stays);
    for (const left of [both / 2, both / 2 - 1]) {
      await lane.kill();
      expect(await count()).toBe(left);
      await writing.kill();
    }
    expect(await complete(await lane.worker(), stays)).toBe("whole");
  } finally {
    server.close();
  }
});

testWithModel(
  "what is read is right in whatever pieces, though memory is used again",
  async ({ hosted, address, worker }) => {
    // Some forty chunks, of which ten are held.
    const size = Math.floor(CHUNK / 12);
    await complete(worker, address, size);
    for (const step of [size / 3, size, 2.5 * size, 14 * size, 40 * size].map(Math.floor)) {
      const asked = [address, UNET, size, step] as const;
      const found = await worker.evaluate((given) => lab.readInTurns(...given), asked);
      expect(found, `${step} bytes at a time`).toBe(sha256(hosted.weights));
    }
  },
);

for (const { mebibytes, ahead, held } of [
  { mebibytes: 1, ahead: 4, held: 10 },
  { mebibytes: 4, ahead: 4, held: 10 },
  { mebibytes: 8, ahead: 2, held: 10 },
  { mebibytes: 20, ahead: 0, held: 6 },
  { mebibytes: 64, ahead: 0, held: 2 },
]) {
  test(`of chunks of ${mebibytes} MiB, ${held} are held and ${ahead} read ahead`, async () => {
    const read: number[] = [];
    const lengths = new Array<number>(40).fill(mebibytes << 20);
    const chunks = new HeldChunks(lengths, async (number) => {
      read.push(number);
      return { data: new ArrayBuffer(0), sha256: new ArrayBuffer(0) };
    });
    await chunks.get(0, 1);
    await chunks.get(1, 2);
    expect(read.slice(2)).toEqual([2, 3, 4, 5].slice(0, ahead));
    const latestLast = Array.from({ length: 12 }, (_, at) => 10 + 2 * at);
    for (const number of latestLast) await chunks.get(number, number + 1);
    read.length = 0;
    const latest = latestLast.reverse();
    for (const number of latest) await chunks.get(number, number + 1);
    expect(latest.indexOf(read[0] ?? -1)).toBe(held);
  });
}
