// parse.mjs FOLDER FILE…: read PowerShell by the grammar tree-sitter-powershell, which FOLDER (a node_modules) has beside web-tree-sitter, and print
// each place that is none. Exit status 1: there are some.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, ...files] = process.argv.slice(2)
const { Parser, Language } = await import(pathToFileURL(path.join(folder, 'web-tree-sitter', 'web-tree-sitter.js')))
await Parser.init()
const parser = new Parser()
parser.setLanguage(await Language.load(path.join(folder, 'tree-sitter-powershell', 'tree-sitter-powershell.wasm')))
let wrong = false
for (const file of files) {
  const root = parser.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '')).rootNode
  if (!root.hasError) continue
  wrong = true
  const [first] = root.descendantsOfType('ERROR')
  console.log(`${file}:${(first ?? root).startPosition.row + 1}: ${JSON.stringify((first ?? root).text.slice(0, 80))}`)
}
process.exit(wrong ? 1 : 0)
