// `npm run docs`: writes the reference of the npm package, docs/api/, from its types.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { npmPackages } from "./lib/packages.mjs";
import { root, run, say, script } from "./lib/run.mjs";

/** TypeDoc reads types by a compiler of its own, since it does not know the one of the checks. */
const PACKAGES = ["typedoc@0.28.20", "typedoc-plugin-markdown@4.14.1", "typescript@5.9.3"];
const ENTRIES = ["client/index.ts", "embed/element.ts", "embed/frame_protocol.ts"];

await script(async () => {
  await npmPackages();
  say("writing docs/api/");
  const out = join(root, "docs", "api");
  rmSync(out, { recursive: true, force: true });
  const source = join(root, "www", "src");
  const options = [
    ...["--plugin", "typedoc-plugin-markdown", "--router", "module", "--name", "easel", "--readme", "none"],
    ...["--tsconfig", join(source, "embed", "tsconfig.json"), "--basePath", source],
    ...[
      "--excludePrivate",
      "--excludeProtected",
      "--excludeInternal",
      "--excludeExternals",
      "--disableSources",
    ],
    ...["--hideBreadcrumbs", "--hidePageHeader", "--sort", "source-order", "--out", out],
  ];
  const packages = PACKAGES.flatMap((name) => ["--package", name]);
  const entries = ENTRIES.flatMap((path) => ["--entryPoints", join(source, path)]);
  await run("npx", ["--yes", ...packages, "--", "typedoc", ...options, ...entries]);
});
