// Files that the user picks or drops, with their paths: each way of giving them has an interface of its own.
import { EaselError } from "../shared/errors.ts";
import type { GivenFile } from "../shared/protocol.ts";

/** More is no model: somebody gave a whole disk. */
const MOST_FILES = 20_000;

/** Those of a file field; with `webkitdirectory`, its whole folder. */
export async function filesOfField(list: readonly File[]): Promise<GivenFile[]> {
  const found: GivenFile[] = [];
  for (const file of list) add(found, given(file.webkitRelativePath || file.name, file));
  return found;
}

/** Those below a folder that was picked. */
export async function filesOfFolder(folder: FileSystemDirectoryHandle): Promise<GivenFile[]> {
  const found: GivenFile[] = [];
  const look = async (inside: FileSystemDirectoryHandle, path: string): Promise<void> => {
    for await (const entry of inside.values()) {
      const at = `${path}/${entry.name}`;
      if (entry instanceof FileSystemDirectoryHandle) await look(entry, at);
      else if (entry instanceof FileSystemFileHandle) add(found, given(at, await entry.getFile()));
    }
  };
  await look(folder, folder.name);
  return found;
}

/** Those that were dropped, folders with all that is in them. To be called while the drop is handled. */
export function filesOfDrop({ items }: DataTransfer): Promise<GivenFile[]> {
  const dropped = [...items].filter(({ kind }) => kind === "file");
  // Only now can they be asked for; what is in them comes later.
  const entries = dropped.map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  return collect(entries);
}

async function collect(entries: (FileSystemEntry | File | null)[]): Promise<GivenFile[]> {
  const found: GivenFile[] = [];
  for (const entry of entries) {
    if (entry instanceof File) add(found, given(entry.name, entry));
    else if (entry) await collectEntry(entry, found);
  }
  return found;
}

async function collectEntry(entry: FileSystemEntry, found: GivenFile[]): Promise<void> {
  if (isFile(entry)) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject));
    add(found, given(entry.fullPath.replace(/^\//, ""), file));
  } else if (isDirectory(entry)) {
    const reader = entry.createReader();
    for (;;) {
      // A reader gives some at a time, and none at the end.
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
        reader.readEntries(resolve, reject),
      );
      if (some.length === 0) return;
      for (const inside of some) await collectEntry(inside, found);
    }
  }
}

// Chromium does not show the classes of entries under their names.
function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}

function isDirectory(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

function given(path: string, file: File): GivenFile {
  return { path, file, modified: file.lastModified };
}

function add(found: GivenFile[], file: GivenFile): void {
  if (found.length === MOST_FILES) {
    throw new EaselError("not_a_model_file", "there are too many files in it: give the folder of one model");
  }
  found.push(file);
}
