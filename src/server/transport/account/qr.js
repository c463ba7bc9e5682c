// QR codes (ISO/IEC 18004): bytes, versions 1 to 9, error correction level L, mask 0.
//
// Just what an address for an authenticator app needs, so that its secret is drawn here and sent nowhere.

/** Of each version: bytes of data in a block, bytes of error correction for a block, blocks. */
const VERSIONS = [
  [19, 7, 1], [34, 10, 1], [55, 15, 1], [80, 20, 1], [108, 26, 1], [68, 18, 2], [78, 20, 2], [97, 24, 2], [116, 30, 2],
];

/** Where the middles of alignment patterns are, for each version. */
const ALIGNMENT = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46]];

/** The code for a text as an SVG element; null for a text that is too long. */
export function picture(text) {
  const bytes = new TextEncoder().encode(text);
  // mode and length take twelve bits
  const version = 1 + VERSIONS.findIndex(([data, , blocks]) => bytes.length + 2 <= data * blocks);
  if (version === 0) {
    return null;
  }
  const modules = draw(version, codewords(bytes, VERSIONS[version - 1]));
  const path = modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  const create = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    return element;
  };
  const size = modules.length + 8;
  const svg = create("svg", {
    viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "QR code of the secret", "shape-rendering": "crispEdges",
  });
  svg.append(create("path", { d: path, fill: "#000000" }));
  return svg;
}

/** Data and error correction in the order in which they are drawn. */
function codewords(bytes, [dataPerBlock, checksPerBlock, blocks]) {
  const capacity = dataPerBlock * blocks;
  const bits = [0, 1, 0, 0, ...toBits(bytes.length, 8), ...[...bytes].flatMap((byte) => toBits(byte, 8)), 0, 0, 0, 0];
  const data = [];
  for (let i = 0; i < bits.length; i += 8) {
    data.push(bits.slice(i, i + 8).reduce((byte, bit) => byte * 2 + bit, 0));
  }
  for (let fill = 0xec; data.length < capacity; fill ^= 0xec ^ 0x11) {
    data.push(fill);
  }
  const parts = Array.from({ length: blocks }, (_, i) => data.slice(i * dataPerBlock, (i + 1) * dataPerBlock));
  const checks = parts.map((part) => remainder(part, generator(checksPerBlock)));
  const interleave = (lists) => lists[0].flatMap((_, i) => lists.map((list) => list[i]));
  return [...interleave(parts), ...interleave(checks)];
}

function toBits(value, count) {
  return Array.from({ length: count }, (_, i) => (value >> (count - 1 - i)) & 1);
}

/** A product in the field of 256 elements. */
function multiply(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> bit) & 1) * a;
  }
  return product;
}

/** The Reed-Solomon generator polynomial of this degree, without its leading one. */
function generator(degree) {
  let factors = [...Array(degree - 1).fill(0), 1];
  let root = 1;
  for (let i = 0; i < degree; i++) {
    factors = factors.map((factor, j) => multiply(factor, root) ^ (factors[j + 1] ?? 0));
    root = multiply(root, 2);
  }
  return factors;
}

function remainder(data, factors) {
  let rest = factors.map(() => 0);
  for (const byte of data) {
    const lead = byte ^ rest[0];
    rest = [...rest.slice(1), 0].map((value, i) => value ^ multiply(factors[i], lead));
  }
  return rest;
}

/** The bits that make a value divisible by a polynomial, behind it (BCH code). */
function withChecks(value, polynomial, count) {
  let rest = value << count;
  const degree = 31 - Math.clz32(polynomial);
  while (rest !== 0 && 31 - Math.clz32(rest) >= degree) {
    rest ^= polynomial << (31 - Math.clz32(rest) - degree);
  }
  return (value << count) | rest;
}

/** Rows of modules, true for dark. */
function draw(version, words) {
  const size = 17 + 4 * version;
  const modules = Array.from({ length: size }, () => Array(size).fill(null));
  const set = (x, y, dark) => {
    if (x >= 0 && y >= 0 && x < size && y < size) {
      modules[y][x] = Boolean(dark);
    }
  };
  drawPatterns(version, size, modules, set);
  drawFormat(version, size, set);
  drawData(size, modules, words.flatMap((word) => toBits(word, 8)));
  return modules;
}

function drawPatterns(version, size, modules, set) {
  for (let i = 0; i < size; i++) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  // rings around a middle; the distance from it says which is dark
  const rings = (cx, cy, radius, dark) => {
    for (let y = -radius; y <= radius; y++) {
      for (let x = -radius; x <= radius; x++) {
        set(cx + x, cy + y, dark(Math.max(Math.abs(x), Math.abs(y))));
      }
    }
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    rings(x, y, 4, (distance) => distance !== 2 && distance !== 4);
  }
  const middles = ALIGNMENT[version - 1];
  for (const x of middles) {
    for (const y of middles) {
      // not over the finders; the timing lines run through the others
      const corner = [x, y].every((at) => at === 6 || at === size - 7) && !(x === size - 7 && y === size - 7);
      if (!corner) {
        rings(x, y, 2, (distance) => distance !== 1);
      }
    }
  }
}

function drawFormat(version, size, set) {
  // level L is 01, mask 0 is 000
  const format = toBits(withChecks(0b01000, 0x537, 10) ^ 0x5412, 15).reverse();
  for (let i = 0; i < 15; i++) {
    // down the right of the top left finder, then to its left; and again at the two others
    const [x, y] = i < 8 ? [8, i + (i > 5)] : [i === 8 ? 7 : 14 - i, 8];
    set(x, y, format[i]);
    set(i < 8 ? size - 1 - i : 8, i < 8 ? 8 : size - 15 + i, format[i]);
  }
  set(8, size - 8, true);
  if (version >= 7) {
    toBits(withChecks(version, 0x1f25, 12), 18).reverse().forEach((bit, i) => {
      const [far, near] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(far, near, bit);
      set(near, far, bit);
    });
  }
}

/** Fills what is free in columns of two, from the right, up and down by turns, under mask 0. */
function drawData(size, modules, bits) {
  let next = 0;
  for (let right = size - 1, up = true; right >= 1; right -= 2, up = !up) {
    if (right === 6) {
      right = 5;
    }
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (modules[y][x] === null) {
          modules[y][x] = ((bits[next++] ?? 0) ^ ((x + y) % 2 === 0)) === 1;
        }
      }
    }
  }
}
