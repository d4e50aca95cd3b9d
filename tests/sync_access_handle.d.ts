// What workers have of the File System standard, which the library of types for pages leaves out: these projects see
// both, pages and code of workers.
interface FileSystemSyncAccessHandle {
  read(buffer: AllowSharedBufferSource, options?: { at?: number }): number;
  write(buffer: AllowSharedBufferSource, options?: { at?: number }): number;
  truncate(newSize: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

declare var FileSystemSyncAccessHandle: { prototype: FileSystemSyncAccessHandle };

interface FileSystemFileHandle {
  createSyncAccessHandle(): Promise<FileSystemSyncAccessHandle>;
}
