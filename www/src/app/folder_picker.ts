declare global {
  interface Window {
    /** Not in every browser: https://wicg.github.io/file-system-access/#api-showdirectorypicker */
    showDirectoryPicker?: (options: {
      id: string;
      mode: "read" | "readwrite";
    }) => Promise<FileSystemDirectoryHandle>;
  }
}

/** Asks the user for a folder; to be called while a press is handled. Frames of other sites may not ask. */
export async function chooseFolder(
  mode: "read" | "readwrite",
): Promise<FileSystemDirectoryHandle | "cancelled" | "unsupported"> {
  if (!window.showDirectoryPicker) return "unsupported";
  try {
    return await window.showDirectoryPicker({ id: "easel", mode });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return "cancelled";
    return "unsupported";
  }
}
