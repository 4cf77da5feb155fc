// XXH64 with seed 0 (the xxHash specification 0.1.1), of which zstd stores the low four bytes; 64-bit words in two halves.

const P1_LOW = 0x85ebca87;
const P1_HIGH = 0x9e3779b1;
const P2_LOW = 0x27d4eb4f;
const P2_HIGH = 0xc2b2ae3d;
const P3_LOW = 0x9e3779f9;
const P3_HIGH = 0x165667b1;
const P4_LOW = 0xc2b2ae63;
const P4_HIGH = 0x85ebca77;
const P5_LOW = 0x165667c5;
const P5_HIGH = 0x27d4eb2f;
const STRIPE = 32;

// The word that the functions below work on.
let low = 0;
let high = 0;

function multiply(bLow: number, bHigh: number): void {
  const a0 = low & 0xffff;
  const a1 = low >>> 16;
  const b0 = bLow & 0xffff;
  const b1 = bLow >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const carry = a0 * b1 + (middle & 0xffff);
  const top = a1 * b1 + Math.floor(middle / 65536) + Math.floor(carry / 65536);
  high = (top + Math.imul(high, bLow) + Math.imul(low, bHigh)) | 0;
  low = Math.imul(low, bLow);
}

function add(bLow: number, bHigh: number): void {
  const sum = (low >>> 0) + (bLow >>> 0);
  high = (high + bHigh + (sum > 0xffffffff ? 1 : 0)) | 0;
  low = sum | 0;
}

/** Rotates left by 1 to 31 bits. */
function rotate(count: number): void {
  const before = low;
  low = (low << count) | (high >>> (32 - count));
  high = (high << count) | (before >>> (32 - count));
}

function xor(bLow: number, bHigh: number): void {
  low ^= bLow;
  high ^= bHigh;
}

export class Xxh64 {
  // Four lanes, each low half then high half.
  private readonly lanes: Int32Array = Int32Array.of(0, 0, P2_LOW, P2_HIGH, 0, 0, 0, 0);
  private readonly rest: Uint8Array = new Uint8Array(STRIPE);
  private total = 0;

  constructor() {
    low = P1_LOW;
    high = P1_HIGH;
    add(P2_LOW, P2_HIGH);
    this.lanes[0] = low;
    this.lanes[1] = high;
    low = ~P1_LOW;
    high = ~P1_HIGH;
    add(1, 0);
    this.lanes[6] = low;
    this.lanes[7] = high;
  }

  update(bytes: Uint8Array): void {
    let at = 0;
    const held = this.total % STRIPE;
    this.total += bytes.length;
    if (held > 0) {
      at = Math.min(STRIPE - held, bytes.length);
      this.rest.set(bytes.subarray(0, at), held);
      if (held + at < STRIPE) return;
      this.stripes(this.rest, 0, STRIPE);
    }
    const end = at + Math.floor((bytes.length - at) / STRIPE) * STRIPE;
    this.stripes(bytes, at, end);
    this.rest.set(bytes.subarray(end));
  }

  private stripes(bytes: Uint8Array, from: number, to: number): void {
    const { lanes } = this;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = from; at < to; at += 8) {
      const lane = ((at - from) >>> 2) & 6;
      round(lanes[lane] as number, lanes[lane + 1] as number, view.getInt32(at, true), view.getInt32(at + 4, true));
      lanes[lane] = low;
      lanes[lane + 1] = high;
    }
  }

  /** The low 32 bits of the digest, unsigned; the object is spent afterwards. */
  digestLow(): number {
    if (this.total >= STRIPE) this.merge();
    else {
      low = P5_LOW;
      high = P5_HIGH;
    }
    add(this.total | 0, Math.floor(this.total / 2 ** 32));
    this.tail(this.total % STRIPE);
    // The avalanche: shifts right by 33, 29 and 32 bits.
    xor(high >>> 1, 0);
    multiply(P2_LOW, P2_HIGH);
    xor((low >>> 29) | (high << 3), high >>> 29);
    multiply(P3_LOW, P3_HIGH);
    return (low ^ high) >>> 0;
  }

  private merge(): void {
    const { lanes } = this;
    let sumLow = 0;
    let sumHigh = 0;
    for (const [i, count] of [1, 7, 12, 18].entries()) {
      low = lanes[2 * i] as number;
      high = lanes[2 * i + 1] as number;
      rotate(count);
      add(sumLow, sumHigh);
      sumLow = low;
      sumHigh = high;
    }
    for (let i = 0; i < 8; i += 2) {
      round(0, 0, lanes[i] as number, lanes[i + 1] as number);
      xor(sumLow, sumHigh);
      multiply(P1_LOW, P1_HIGH);
      add(P4_LOW, P4_HIGH);
      sumLow = low;
      sumHigh = high;
    }
  }

  private tail(count: number): void {
    const view = new DataView(this.rest.buffer);
    let at = 0;
    for (; at + 8 <= count; at += 8) {
      const [sumLow, sumHigh] = [low, high];
      round(0, 0, view.getInt32(at, true), view.getInt32(at + 4, true));
      xor(sumLow, sumHigh);
      rotate(27);
      multiply(P1_LOW, P1_HIGH);
      add(P4_LOW, P4_HIGH);
    }
    if (at + 4 <= count) {
      this.absorb(view.getInt32(at, true), P1_LOW, P1_HIGH, 23);
      multiply(P2_LOW, P2_HIGH);
      add(P3_LOW, P3_HIGH);
      at += 4;
    }
    for (; at < count; at++) {
      this.absorb(view.getUint8(at), P5_LOW, P5_HIGH, 11);
      multiply(P1_LOW, P1_HIGH);
    }
  }

  /** Mixes an unsigned 32-bit value, times a constant, into the word. */
  private absorb(value: number, factorLow: number, factorHigh: number, count: number): void {
    const [sumLow, sumHigh] = [low, high];
    low = value;
    high = 0;
    multiply(factorLow, factorHigh);
    xor(sumLow, sumHigh);
    rotate(count);
  }
}

function round(accLow: number, accHigh: number, inLow: number, inHigh: number): void {
  low = inLow;
  high = inHigh;
  multiply(P2_LOW, P2_HIGH);
  add(accLow, accHigh);
  rotate(31);
  multiply(P1_LOW, P1_HIGH);
}
