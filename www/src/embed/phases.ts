import type { Progress } from "../client/types.ts";
import { fileSize } from "../shared/pace.ts";

/** What is being done, in words that change with phases and not with every piece of work. */
export function phase({ stage, total }: Progress): string {
  switch (stage) {
    case "waiting":
      return "Another tab is fetching this model";
    case "download":
      return `Downloading the model, ${fileSize(total)}, once`;
    case "measuring":
      return "Getting to know the GPU, once";
    case "compiling":
      return "Compiling for the GPU";
    case "decoding":
      return "Decoding the picture";
    default:
      return "Preparing the model";
  }
}
