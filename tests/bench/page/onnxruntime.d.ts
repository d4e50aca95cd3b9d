// The part of onnxruntime-web's interface that the benchmark uses: the package is not there when types are checked.

/** A tensor with its numbers in memory. */
export interface Tensor {
  data: unknown;
  dispose(): void;
}

/** The module `onnxruntime-web`. */
export interface OnnxRuntime {
  env: {
    versions: { web?: string };
    wasm: { numThreads: number; wasmPaths: string };
  };
  Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: readonly number[]) => Tensor;
  InferenceSession: {
    create(
      address: string,
      options: { executionProviders: string[]; graphOptimizationLevel: string; logSeverityLevel: number },
    ): Promise<{ run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> }>;
  };
}
