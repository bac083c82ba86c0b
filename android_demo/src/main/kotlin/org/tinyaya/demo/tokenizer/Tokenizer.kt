package org.tinyaya.demo.tokenizer

import org.tinyaya.demo.bundle.GoldenCase
import org.tinyaya.demo.bundle.InvalidTextError
import org.tinyaya.demo.bundle.TokenizerError
import org.tinyaya.demo.bundle.Utf8Stream
import java.io.File

/** Text in, token ids out, and back, exactly as Hugging Face's tokenizers do it. */
class Tokenizer private constructor(private val file: TokenizerFile, private val bos: Int) {
    private val byFirst = file.added.groupBy { it.content.first() }
        .mapValues { (_, tokens) -> tokens.sortedByDescending { it.content.length } }
    private val special = file.added.filter { it.isSpecial }.map { it.id }.toSet()

    /** One more than the highest id that has a token. */
    val size: Int get() = file.vocabulary.size

    /**
     * Ids of [text]; special tokens written in it are read as such.
     *
     * [addBos]: BOS comes first, also where the text writes it itself. Throws [InvalidTextError]
     * for lone surrogates, which no UTF-8 text holds.
     */
    fun encode(text: String, addBos: Boolean): IntArray {
        val ids = IntList()
        var start = 0
        var at = 0
        while (at < text.length) {
            val token = byFirst[text[at]]?.firstOrNull { text.startsWith(it.content, at) }
            if (token == null) {
                at++
                continue
            }
            encodePlain(text.substring(start, at), start, ids)
            ids.add(token.id)
            at += token.content.length
            start = at
        }
        encodePlain(text.substring(start), start, ids)
        val found = ids.toIntArray()
        return if (addBos && found.firstOrNull() != bos) intArrayOf(bos) + found else found
    }

    /** Text of [ids] without special tokens; broken characters become U+FFFD. */
    fun decode(ids: IntArray): String {
        val stream = stream()
        return ids.joinToString("") { stream.add(it) } + stream.flush()
    }

    /** Begins a stream that turns ids into text one by one. */
    fun stream(): TextStream = TextStream(this)

    /** The text of one token, special or not. */
    fun tokenText(id: Int): String = String(file.vocabulary.bytes(id) ?: ByteArray(0), Charsets.UTF_8)

    /** Fails unless all cases get the ids of the exporter's tokenizer. Throws [TokenizerError]. */
    fun check(cases: List<GoldenCase>) {
        for (case in cases) {
            if (!encode(case.text, addBos = false).contentEquals(case.ids.toIntArray())) {
                throw TokenizerError("the text '${case.name}' gets other ids than at export; export the bundle again")
            }
        }
    }

    internal fun bytes(id: Int): ByteArray =
        if (id in special) ByteArray(0) else file.vocabulary.bytes(id) ?: ByteArray(0)

    private fun encodePlain(text: String, offset: Int, ids: IntList) {
        if (text.isEmpty()) return
        val codes = codePoints(text, offset)
        var pieces = listOf(0 to codes.size)
        for (pattern in file.splits) {
            pieces = pieces.flatMap { (start, end) ->
                buildList {
                    pattern.split(codes.copyOfRange(start, end)) { low, high -> add(start + low to start + high) }
                }
            }
        }
        for ((start, end) in pieces) {
            val bytes = String(codes, start, end - start).toByteArray()
            file.pairs.encode(bytes, 0, bytes.size, ids)
        }
    }

    private fun codePoints(text: String, offset: Int): IntArray {
        val codes = IntList()
        var at = 0
        while (at < text.length) {
            val code = text.codePointAt(at)
            if (code in 0xd800..0xdfff) {
                throw InvalidTextError("character ${offset + at} is the lone surrogate U+%04X; expected whole characters".format(code))
            }
            codes.add(code)
            at += Character.charCount(code)
        }
        return codes.toIntArray()
    }

    companion object {
        /** Reads tokenizer.json. Throws [TokenizerError] for one that cannot be read exactly. */
        fun open(path: File, bos: Int): Tokenizer = Tokenizer(TokenizerFile.open(path), bos)

        /** As [open], from bytes; [where] names them in errors. */
        fun parse(bytes: ByteArray, bos: Int, where: String): Tokenizer = Tokenizer(TokenizerFile(bytes, where), bos)
    }
}

/** Ids in, pieces of text out; the pieces joined are the text of all ids. */
class TextStream internal constructor(private val tokenizer: Tokenizer) {
    private val utf8 = Utf8Stream()

    /** Takes [id]; the text that it completes, empty while a character is not whole. */
    fun add(id: Int): String = utf8.add(tokenizer.bytes(id))

    /** Ends the text. */
    fun flush(): String = utf8.flush()
}
