// `npm run bench disk`: a Debian tree to a verity-protected GPT disk, plain and with LZ4, against mkfs.erofs + veritysetup + sgdisk + dd. The peer starts from a
// folder, which its tools need, and imgkit from the folder as well as from the tar. The peer's outputs are synced as imgkit's are.

import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debian, debianFolder, debianTar } from "../../../scripts/bench/debian.mjs";
import { conditions, imgkit, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";

const folder = debianFolder();
const tail = ["--epoch", "1700000000", "-q", "-o"];

// The partitions are where imgkit puts them.
const peer = (out, compression = "") => `set -e
cd '${out}'
rm -f root.erofs root.verity disk.raw
mkfs.erofs ${compression} -T 1700000000 -U 11111111-1111-4111-8111-111111111111 root.erofs '${folder}'
hash=$(veritysetup format root.erofs root.verity --salt=${"aa".repeat(32)} --uuid=22222222-2222-4222-8222-222222222222 | sed -n 's/^Root hash: *\\t*//p')
data=$(stat -c %s root.erofs); tree=$(stat -c %s root.verity)
start=$(( (1048576 + data + 1048575) / 1048576 * 1048576 )); end=$(( (start + tree + 1048575 + 1048576) / 1048576 * 1048576 ))
truncate -s $end disk.raw
u() { echo "$1" | sed 's/\\(........\\)\\(....\\)\\(....\\)\\(....\\)\\(............\\)/\\1-\\2-\\3-\\4-\\5/'; }
sgdisk -a 8 -n 1:2048:+$((data / 512 - 1)) -t 1:4f68bce3-e8cd-4db1-96e7-fbcaf984b709 -u 1:$(u $(echo $hash | cut -c1-32)) \\
  -n 2:$((start / 512)):+$((tree / 512 - 1)) -t 2:2c7357ed-ebd2-46d9-aec1-23d437ec2bf5 -u 2:$(u $(echo $hash | cut -c33-64)) disk.raw
dd if=root.erofs of=disk.raw bs=1M seek=1 conv=notrunc status=none
dd if=root.verity of=disk.raw bs=1M seek=$((start / 1048576)) conv=notrunc,fsync status=none
`;

console.log(conditions());
await withFolder((out) => {
  writeFileSync(join(out, "peer.sh"), peer(out));
  const found = interleave({
    "mkfs.erofs + veritysetup + sgdisk + dd": ["bash", join(out, "peer.sh")],
    "imgkit disk, from the folder": [...imgkit, "disk", folder, ...tail, join(out, "folder.raw")],
    "imgkit disk, from the tar": [...imgkit, "disk", debianTar(), ...tail, join(out, "tar.raw"), "--profile", "none"],
  });
  report(debian, found, { "imgkit disk, from the folder": [1.1, 1.5], "imgkit disk, from the tar": [1.1, 1.5] });

  // Compressed, the size of the disk is as much of the result as the time.
  const lz4 = ["-zlz4", "-zlz4hc"];
  for (const level of lz4) writeFileSync(join(out, `peer${level}.sh`), peer(out, level));
  const ours = "imgkit disk --compression lz4";
  const compressed = interleave(
    {
      ...Object.fromEntries(lz4.map((level) => [`mkfs.erofs ${level} + veritysetup + sgdisk + dd`, ["bash", join(out, `peer${level}.sh`)]])),
      [ours]: [...imgkit, "disk", folder, ...tail, join(out, "lz4.raw"), "--compression", "lz4"],
    },
    { after: (name) => ({ MB: statSync(join(out, name === ours ? "lz4.raw" : "disk.raw")).size / 1e6 }) },
  );
  report(`${debian}, with LZ4`, compressed);
});
