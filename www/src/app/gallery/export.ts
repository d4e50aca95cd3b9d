// Pictures as a zip file, written as it is read: no gallery is too large for memory.
import { makeZip } from "client-zip";
import { saveFile } from "../save_file.ts";
import { fileName } from "../stage.ts";
import type { GalleryStore } from "./store.ts";

interface Entry {
  name: string;
  lastModified: Date;
  input: Blob;
}

/** Each picture under a name of its own, with its date; those deleted meanwhile are left out. */
export async function* zipEntries(store: GalleryStore, keys: readonly number[]): AsyncGenerator<Entry> {
  for (const key of keys) {
    const [picture, input] = await Promise.all([store.picture(key), store.file(key)]);
    if (!picture || !input) continue;
    const { prompt = "", seed = 0 } = picture.settings;
    // Two pictures of a prompt and a seed may differ in the rest.
    const name = fileName(prompt, seed).replace(/\.png$/, `-${key}.png`);
    yield { name, lastModified: new Date(picture.added), input };
  }
}

/**
 * Saves pictures as a zip; straight to the disk where the browser lets a page write there. `onProgress` hears how many are
 * in it; aborting `signal` leaves no file and rejects.
 */
export async function exportZip(
  store: GalleryStore,
  keys: readonly number[],
  { signal, onProgress }: { signal: AbortSignal; onProgress: (done: number) => void },
): Promise<void> {
  const name = `easel-${new Date().toISOString().slice(0, 10)}.zip`;
  const place = await savePlace(name);
  if (place === null) return;
  const stream = makeZip(counted(zipEntries(store, keys), signal, onProgress));
  if (place) return stream.pipeTo(await place.createWritable(), { signal });
  // The browser keeps a blob of this size on its disk.
  saveFile(await new Response(stream, { headers: { "Content-Type": "application/zip" } }).blob(), name);
}

async function* counted<T>(
  entries: AsyncIterable<T>,
  signal: AbortSignal,
  onProgress: (done: number) => void,
): AsyncGenerator<T> {
  let done = 0;
  for await (const entry of entries) {
    signal.throwIfAborted();
    yield entry;
    done += 1;
    onProgress(done);
  }
}

type SavePicker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

/** Where to write; `null` when the user changed their mind, `undefined` where the browser has no such thing. */
async function savePlace(suggestedName: string): Promise<FileSystemFileHandle | null | undefined> {
  const { showSaveFilePicker } = window as { showSaveFilePicker?: SavePicker };
  if (!showSaveFilePicker) return undefined;
  try {
    return await showSaveFilePicker({ suggestedName });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return null;
    return undefined;
  }
}
