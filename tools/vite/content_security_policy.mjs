// Writes the page's Content-Security-Policy: nothing but its own files, and the model hosts that the build allows.

/** Vite plugin; `hosts` are sources that models may be fetched from, those that redirects lead to among them. */
export function contentSecurityPolicy(hosts) {
  const policy = [
    "default-src 'self'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    `connect-src ${["'self'", ...hosts].join(" ")}`,
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "base-uri 'none'",
    "form-action 'none'",
    "object-src 'none'",
  ].join("; ");
  return {
    name: "easel:content-security-policy",
    transformIndexHtml: (html) => ({
      html,
      tags: [
        {
          tag: "meta",
          attrs: { "http-equiv": "Content-Security-Policy", content: policy },
          injectTo: "head-prepend",
        },
      ],
    }),
  };
}
