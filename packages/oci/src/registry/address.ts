// Which address may be asked for what. A registry's answers name other addresses (redirects, upload locations, token realms): none
// of them may bring a secret to another host or in the clear, or make a client that stands inside a network ask for it from inside.
import { clip } from "../clip.ts";
import { OciError } from "../errors.ts";

/** Whether a URL's host is this machine: `localhost`, 127.0.0.0/8, ::1. */
export function isLoopback(url: URL): boolean {
  const hostname = url.hostname.replace(/\.$/, "");
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Whether a URL's host is written as an address that only exists inside a network. A name that resolves to one is not seen. */
export function isInternal(url: URL): boolean {
  const { hostname } = url;
  if (isLoopback(url)) return true;
  if (hostname.startsWith("[")) return isInternalV6(hostname.slice(1, -1));
  const [a, b] = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(hostname)?.slice(1).map(Number) ?? [];
  return a !== undefined && b !== undefined && isInternalV4(a, b);
}

function isInternalV4(a: number, b: number): boolean {
  if (a === 0 || a === 10 || a === 127) return true;
  return (a === 100 && b >= 64 && b < 128) || (a === 169 && b === 254) || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
}

function isInternalV6(address: string): boolean {
  // `URL` writes addresses that hold an IPv4 one in hexadecimal: ::ffff:a00:1 is 10.0.0.1, and so is NAT64's 64:ff9b::a00:1.
  const mapped = /^(?:64:ff9b)?::(?:ffff:)?([0-9a-f]{1,4}):[0-9a-f]{1,4}$/.exec(address)?.[1];
  if (mapped !== undefined) return isInternalV4(Number.parseInt(mapped, 16) >> 8, Number.parseInt(mapped, 16) & 255);
  return address === "::" || /^f[cd]/.test(address) || /^fe[89ab]/.test(address);
}

/**
 * Checks an address that a registry's answer named, relative to where the answer came from: HTTPS, or plain HTTP when the answer
 * came over it; inside a network only from inside it.
 * @throws OciError REGISTRY_PROTOCOL when it is no URL; REGISTRY_INSECURE.
 */
export function followed(target: string, from: URL, what: string): URL {
  if (!URL.canParse(target, from)) {
    throw new OciError("REGISTRY_PROTOCOL", `${what} is no URL`, { path: from.host, found: clip(JSON.stringify(target)) }, "system");
  }
  const url = new URL(target, from);
  const refuse = (expected: string): never => {
    throw new OciError("REGISTRY_INSECURE", `${what} leads where it must not`, { path: from.host, expected, found: clip(`${url.protocol}//${url.host}`) });
  };
  if (url.username !== "" || url.password !== "") refuse("no user name or password in a URL");
  const plain = url.protocol === "http:" && from.protocol === "http:" && (url.hostname === from.hostname || isLoopback(url));
  if (url.protocol !== "https:" && !plain) refuse("HTTPS");
  if (isInternal(url) && url.hostname !== from.hostname && !isInternal(from)) refuse("no address inside a network");
  return url;
}
