package org.tinyaya.demo.tokenizer

/**
 * Classes of code points as the library that trained and checks the tokenizer has them.
 *
 * `ci/unicode_table.py` asks that library and writes `unicode.txt`; a phone's own tables are those
 * of its Android version. A line is a name and, alternately, how many code points are not and are in the class.
 */
internal object UnicodeTable {
    private val tables: Map<String, CharSet> = read()

    val SPACE: CharSet = tables.getValue("space")
    val WORD: CharSet = tables.getValue("word")

    /** What else matches an ASCII letter without regard to case: long s and the Kelvin sign. */
    val FOLDED_TO_ASCII = mapOf('s'.code to 0x17f, 'k'.code to 0x212a)

    /** The general category of that name, or the group of one letter; null if it is not known. */
    fun property(name: String): CharSet? = if (name.first().isUpperCase()) tables[name] else null

    private fun read(): Map<String, CharSet> {
        val stream = checkNotNull(UnicodeTable::class.java.getResourceAsStream("unicode.txt")) { "unicode.txt is not in the app" }
        return stream.bufferedReader().useLines { lines ->
            lines.filterNot { it.startsWith("#") }.associate { line ->
                val words = line.split(' ')
                words.first() to Ranges(words.drop(1))
            }
        }
    }

    /** Boundaries between outside and inside, ascending; ASCII by its own table. */
    private class Ranges(lengths: List<String>) : CharSet {
        private val edges = IntArray(lengths.size).also { edges ->
            lengths.foldIndexed(0) { index, sum, length -> (sum + length.toInt(36)).also { edges[index] = it } }
        }
        private val ascii = BooleanArray(128) { search(it) }

        override fun has(code: Int): Boolean = if (code < 128) ascii[code] else search(code)

        private fun search(code: Int): Boolean {
            val found = edges.binarySearch(code)
            val passed = if (found >= 0) found + 1 else -found - 1
            return passed % 2 == 1
        }
    }
}
