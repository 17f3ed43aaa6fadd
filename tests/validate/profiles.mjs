// Our own conformance resources: snapshots of the profiles (the files hold differentials only) and the codes of the value sets.
import fs from 'node:fs';
import path from 'node:path';

/** All resources of a folder's .json files, by canonical URL. */
export function load(folder) {
  const byUrl = new Map();
  for (const name of fs.readdirSync(folder).filter((n) => n.endsWith('.json'))) {
    const resource = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
    if (resource.url) byUrl.set(resource.url, resource);
  }
  return byUrl;
}

/**
 * The snapshot of a constraint: R4's own elements with the differential laid over them. An element that R4's list does not have (a
 * slice, or a child of a datatype) is put after its nearest relative and takes the definition of what it constrains.
 */
export function snapshot(profile, definitions) {
  const base = definitions.get(profile.baseDefinition);
  const elements = structuredClone(base.snapshot.element);
  for (const change of profile.differential.element) {
    const at = elements.findIndex((e) => e.id === change.id);
    if (at >= 0) elements[at] = lay(elements[at], change);
    else elements.splice(after(elements, change.id), 0, lay(origin(elements, change, definitions), change));
  }
  return { ...profile, snapshot: { element: elements } };
}

function lay(element, change) {
  const constraint = [...(element.constraint ?? []), ...(change.constraint ?? [])];
  return { ...element, ...change, ...(constraint.length > 0 && { constraint }) };
}

/** What a new element constrains: the element that is sliced, or the child of its parent's datatype. */
function origin(elements, change, definitions) {
  const sliced = elements.find((e) => e.id === change.id.replace(/:[^.:]*$/, ''));
  if (change.sliceName && sliced) {
    const { slicing, constraint, ...rest } = structuredClone(sliced);
    return { ...rest, min: 0, ...(constraint && { constraint }) };
  }
  const [parentId, child] = [change.id.slice(0, change.id.lastIndexOf('.')), change.id.slice(change.id.lastIndexOf('.') + 1)];
  const parent = elements.find((e) => e.id === parentId);
  const type = parent?.type?.[0]?.code;
  const found = definitions.get(`http://hl7.org/fhir/StructureDefinition/${type}`)?.snapshot.element.find((e) => e.path === `${type}.${child}`);
  if (!found) throw new Error(`${change.id}: R4 has no such element`);
  return structuredClone(found);
}

function after(elements, id) {
  const parent = id.slice(0, id.lastIndexOf('.'));
  const kin = (e) => e.id === parent || e.id.startsWith(`${parent}.`) || e.id.startsWith(`${parent}:`);
  const sliced = id.replace(/:[^.:]*$/, '');
  const near = (e) => (sliced === id ? kin(e) : e.id === sliced || e.id.startsWith(`${sliced}.`) || e.id.startsWith(`${sliced}:`));
  const last = elements.findLastIndex(near);
  if (last < 0) throw new Error(`${id}: R4 has no such element`);
  return last + 1;
}

/** The codes of a code system that lists them all, as a set; undefined for others. */
export function codesOf(system) {
  if (system?.resourceType !== 'CodeSystem' || system.content !== 'complete') return undefined;
  const codes = new Set();
  const add = (concepts) => concepts.forEach((c) => (codes.add(c.code), add(c.concept ?? [])));
  add(system.concept ?? []);
  return codes;
}

/** Each element of a profile that is bound to a value set of ours with strength `required`: path and codes by system. */
export function requiredCodes(profile, ours, systems) {
  return profile.differential.element
    .filter((e) => e.binding?.strength === 'required' && ours.has(e.binding.valueSet))
    .map((e) => ({
      path: e.path.split('.').slice(1),
      codes: new Set(
        ours.get(e.binding.valueSet).compose.include.flatMap((i) => i.concept?.map((c) => c.code) ?? [...(systems.get(i.system) ?? [])]),
      ),
    }));
}

/** The values at a path of element names; lists on the way are opened. */
export function at(value, names) {
  if (Array.isArray(value)) return value.flatMap((v) => at(v, names));
  if (value === undefined || value === null) return [];
  if (names.length === 0) return [value];
  const [name, ...rest] = names;
  return at(value[name], rest);
}

/** Each Reference element of a definition that takes certain types only: its path and those types. */
export function targets(definition) {
  return definition.snapshot.element.flatMap((e) => {
    const type = e.type?.find((t) => t.code === 'Reference');
    const kinds = (type?.targetProfile ?? []).map((url) => url.split('/').pop());
    if (e.id.includes(':') || kinds.length === 0 || kinds.includes('Resource')) return [];
    return [{ path: e.path.replace('[x]', 'Reference').split('.').slice(1), kinds }];
  });
}

/**
 * The children that an entry of a slice must have, for slices told apart by a child with a fixed pattern. The validators count the
 * entries of a slice and do not look into them.
 */
export function sliceChildren(profile) {
  return profile.differential.element.flatMap((e) => {
    const [, slice, key] = /^(\w+\.\w+:\w+)\.(\w+)$/.exec(e.id) ?? [];
    const pattern = e.patternUri ?? e.patternString ?? e.patternCode;
    if (slice === undefined || pattern === undefined) return [];
    const required = profile.differential.element
      .filter((c) => c.min > 0 && c.id.startsWith(`${slice}.`))
      .map((c) => c.id.slice(slice.length + 1));
    return [{ list: slice.split('.')[1].split(':')[0], key, pattern, required }];
  });
}
