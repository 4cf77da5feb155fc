import { gunzipSync } from "node:zlib";
import { memorySource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { expect, test } from "vitest";
import { readErofs } from "../src/erofs/reader.ts";
import { differences } from "./helpers.ts";

// What Debian 12's mkfs.erofs cannot write: blocks smaller than 4 KiB. Made once by version 1.8.6 of the tree below, with
// -bSIZE -T1700000000 -U c1b9d5a2-f162-11cf-9ece-0020afc76f16, then gzip -9n.
const images: readonly (readonly [blockSize: number, gzippedBase64: string])[] = [
  [
    512,
    "H4sIAAAAAAACA+2YO2zTYBCAfztNSlpegVIe5VEgFCjYxb8THhNiAxWkSgipE8ilDoQ6MTTlUaA05S0GhISEGBASbEwVEgixAQuIobAwMfAaEGMlmMOF3t84Kdcb2KhPsvxFn6X498V390eIMMIIY6bG1y+/PpfPMTjiIinalRjf7ypsDFz/8vmHh+M9iXf3x0Tr6Gu/+V+/vw6OF7siohs/lyC0gE/iebfQJ3kPcBdyJ/BB5L0iKg4hdwlNHEM+IOqFaZq9mWzG95z+I25hMBe8h+KIVnVPDTX3WOsbGT+b8XMYP5fx8xg/n/GJAJ8JI4wwZmxM1F9d3I5O1IM4HHqgPlzA8y2op8PIj4CLyK+AR5A/Al9E/gl8SdU7TROXkduAryDvBL6K3A18DfkEsKrjN4CvI98Edoy8k3ONAd/IZD3PcIwezz/cZ9hbKbGNEtspsYMQqS2UsCghKWFTIkWJtJfN9xVyjudN6aHFRHV9j1T11wjUf100RSuuLuBLpU8lxZoWEY6fd8O3YmpMN7+UHmgwYVTml2jA93b8PWfT9ecY4+sZP4vxccYvYPxCxjcxfhHjmxm/mPFLGL+U8csY38L45YxfwfiVjF/F+FbGr2b8GsavZXyS8esY38b49YzfwPiNNe9v2ccC7297wB91Pc9v+H/3f2of9SSwv3oKrCrWM+jjarP0HjiP/APYR9ahL6tn3gKsnm8KWD3LfcCbkDPAm5GHgQ3ku8Am8mPgDuS3wMeRv5WvMU2iS1pUi7aoFm1RLdqiWrRFtWgrTQlqOLGo4cSihhOLGk4ktXJJrVzKP7MWPtd7kM/+yfxrooA8BjyA/B34ZGVYEKdUPQU+jSyBVbPsBB5UfRD4LPIQ8DnkO8DnkUeBh5Df0LOepDIjqcxIKjOSyoykMiOpzEgqMzaVGZvKjE39Jm1q5Ta1cjvN/MX1G6oTbJoAFgAA",
  ],
  [
    1024,
    "H4sIAAAAAAACA+2YS2gTURSG7500qUarRmt91EfVWGthRudO0lpfxVUVFSpF6LJTm2jIJGOb+oivNmpVXIjoxlVBd+JCXIk7FUFwoW5cufC1clnQnRBP8Ew7aT0cxZ2dA+F+wxfu8IebO3OuEEEFFdRsrc+fvn+sjBH4REVctHpioiflYcT3/WdP3t2b6I+9GX8tmh6+dBv+9f418Hm6JyR68boMJX0+juNeoU3yPuAW5P3AbcgHRFj0IXcLKdqRD4taYRjGQDqTdh176GiqUMxV318Tt8O/riuD5rv/BRxvwnwjyPeBR5GfA5eQ3wNfRP4GfAm5TkpxGbkZeAy5E/gKci/wVeRBYC/HdeBryDeAbT1v51L6sKunM46j23q/4x7J6lYbJdopsY0SHYRIbKWESQlFCYsSCUoknUw+W8jZjjNjDY3GZNV1aNr6Kt+VsAKm1lfY5we2/H7OqvlL1fNHGF/L+DmMn8v4KOPnMX6+j08HFVRQs7ZqYLccLWmiHjdFDfdMMblffih7LGVI2G4+FfxqM+tvnh91jF/A+IWMX8T4GOMXM34J4+sZv5TxDYxfxvjljF/B+JWMb2T8KsavZvwaxq9lfBPj1zF+PeM3MD7O+I2Mb2b8Jsa3MH7ztPfDio/43g9bff5YynHcaNAnBvV/lvdf6ZZT/fUh4A7kHug5tyM7wDuQx4B3Io8D70J+DLwb+S1wJ/JX4CyypknhdVyNwF4zngDOIx8EdpHTwMeRR4AHke8ADyE/Ai4gvwIeRv4CfAL5B/BJ7xkUkuIUsgHsPcC7gIvIfcBnkIvAZ5FvAZ9DfgB8HvkFsGEYRAdrUu2zSbXPJtU+m1T7bFLts5mkBHVwYFIHByZ1cGBSBweKSq6o5IpKrqjkikquqOSKSq6o5IpKrqjkFpXcopJbVHKLSm5Rya3kH2xvPwEgmE2dABgAAA==",
  ],
  [
    2048,
    "H4sIAAAAAAACA+3YS2sTYRSH8fNmksa2ao229Va11qixMtHOTLzgxrpR8YKggrhyapMaMsnUpmrjtd24EFd+AEXBVdV6t/VSFAR3igtxJba6c2UXuhLiAU+aiXg4FHc6L5T+wlMy/CGZlAD4xz/++V/Pp/FvY1t2XVgdRtdCFFpLYWJvskTN8/cvRt5dm+iIvLn8GpqHXrmNf3v9IP48b9fgAD0u4lGeHqXf2yAw6e3ozeQd6Cx5J4Sgn7wHFOTI+yEM8Xi8M5VOuY7d05XMF7Le6/cPKKjyXL/Vc/0jScdxa/zXiX/+zfPr/ReA7lD59R/w9NL7bEyV33/j6G7yZ6XgKPkHuofcEFCQJ8fRveSt6GPkQ+jj5AL6BPkSuo88iC6QX6JPkj+gT5G/o0+T6zQFZ8gx9FlyO/oc+SB6kJxH3yBfRN8kX0ffIo+ih8jv0bfJX9F3yNVBBXfJLeh75E3o++R96AfkLPoh+Tz6EfkKepg8jB4hv0U/Jn9BPyndm0MKnpKb0M/ICfQoeTe6dF/sQsfIGTTeF209Z2eTeq+rp9KOo9t6h+Mezuhta7nQxgWDCyYXLC4kuLCOC+u5sIELG5lgcMsNbrnBLTe45Qa33OCWG9xyg1tucMsNbrnJLTe55Sa33OSWm9xyk1tucstNbrnJLTe55Ra33OKWW9xyi1tuccuthJPOZfJZ23H+dI/uj6iKx9pv9+/iVQVhz/8vIU/vXMM+bfn5Byqfv0roYaFPE3q10GuEXiv06UKfIfSZQq8T+iyhR4Q+W+hzhF4v9IaK14+GPQD1ns//oKcXix+LJSulge3mkn3+8Y9//OOfyTOVz9dGoc8V+jyhzxf6AqEvFHqT0BcJfbHQlwi9WehLhd4i9GVCjwp9udBXCH2l0GNCXzWFrzV+AgIpsYkAGAAA",
  ],
];

const meta = { mode: 0o600, uid: 0, gid: 0, mtime: 1_700_000_000_000_000_000n, xattrs: noXattrs };
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const names = Array.from({ length: 36 }, (_, i) => `d/a-name-to-fill-a-block-${10 + i}`);
const tree = Tree.from([
  { ...meta, type: "directory", path: "", mode: 0o700 },
  { ...meta, type: "directory", path: "d", mode: 0o700 },
  { ...meta, type: "file", path: "d/small", content: memorySource(text("hello\n")) },
  { ...meta, type: "file", path: "large", content: memorySource(text("x".repeat(1300))), xattrs: new Map([["user.a", text("one")]]) },
  { ...meta, type: "hardlink", path: "d/link", target: "large" },
  { ...meta, type: "symlink", path: "sym", target: "d/small", mode: 0o777 },
  { ...meta, type: "fifo", path: "fifo" },
  ...names.map((path): TreeNode => ({ ...meta, type: "file", path, content: memorySource(text("")) })),
]);

test.each(images)("an image of mkfs.erofs 1.8.6 with blocks of %i bytes is read", async (_, base64) => {
  const image = memorySource(new Uint8Array(gunzipSync(Buffer.from(base64, "base64"))));
  expect(await differences(tree, await readErofs(image))).toEqual([]);
});
