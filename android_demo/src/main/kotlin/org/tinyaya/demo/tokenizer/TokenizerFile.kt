package org.tinyaya.demo.tokenizer

import org.tinyaya.demo.bundle.JsonError
import org.tinyaya.demo.bundle.JsonReader
import org.tinyaya.demo.bundle.TokenizerError
import java.io.File
import java.io.IOException

/** A token that is cut out of a text before anything else; [isSpecial]: it is no part of what was said. */
internal data class AddedToken(val id: Int, val content: String, val isSpecial: Boolean)

/**
 * tokenizer.json in Hugging Face's format in, its parts out; what this app could not do exactly is refused.
 *
 * Vocabulary and merges go from bytes to arrays without a tree between them: the file of a
 * large model has 21 MB.
 */
internal class TokenizerFile(bytes: ByteArray, private val where: String) {
    private val json = JsonReader(bytes)
    private var mergesAt = -1
    private var wholeFirst = false
    private val tokens = Vocabulary()

    lateinit var added: List<AddedToken>
        private set
    lateinit var splits: List<Pattern>
        private set
    lateinit var pairs: BytePairs
        private set

    val vocabulary: Vocabulary get() = tokens

    init {
        try {
            read()
        } catch (error: JsonError) {
            throw TokenizerError("$where is not JSON: ${error.message}; export the bundle again", error)
        }
    }

    private fun read() {
        var preTokenizer: Any? = null
        var addedTokens: Any? = null
        json.members { key ->
            when (key) {
                "model" -> model()
                "pre_tokenizer" -> preTokenizer = json.value()
                "added_tokens" -> addedTokens = json.value()
                "normalizer" -> refuse(json.value() != null, "a normalizer")
                "decoder" -> refuse(type(json.value()) != "ByteLevel", "another decoder than ByteLevel")
                else -> json.value()
            }
        }
        json.end()
        if (mergesAt < 0) throw TokenizerError("$where has no model with merges; export the bundle again")
        pairs = BytePairs(tokens, merges(), wholeFirst)
        refuse(pairs.missingByte >= 0, "no token for byte ${pairs.missingByte}")
        splits = splits(preTokenizer)
        added = (addedTokens as? List<*>).orEmpty().map { addedToken(it as? Map<*, *>) }
        added.forEach { tokens.add(it.content.toByteArray(), it.id) }
    }

    private fun model() {
        json.members { key ->
            when (key) {
                "vocab" -> json.members { token -> addToken(token, json.value()) }
                "merges" -> {
                    mergesAt = json.mark()
                    json.value()
                }
                "ignore_merges" -> wholeFirst = json.value() == true
                "type" -> json.value().let { refuse(it != "BPE", "a model of type '$it'") }
                "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix" ->
                    json.value().let { refuse(it != null && it != "" && it != 0.0, "$key '$it'") }
                "byte_fallback" -> refuse(json.value() == true, "byte_fallback")
                else -> json.value()
            }
        }
    }

    private fun addToken(text: String, id: Any?) {
        val number = (id as? Long)?.takeIf { it in 0..MAX_ID }?.toInt()
            ?: throw TokenizerError("$where gives '$text' the id $id; expected 0 to $MAX_ID")
        val bytes = ByteLevel.bytes(text) ?: text.toByteArray()
        if (!tokens.add(bytes, number)) throw TokenizerError("$where has two tokens of id $number")
    }

    /** Read last, because they refer to tokens by name and may come before them in the file. */
    private fun merges(): Merges {
        val end = json.mark()
        json.seek(mergesAt)
        var count = 0
        json.items {
            json.value()
            count++
        }
        json.seek(mergesAt)
        val merges = Merges(count)
        json.items { rank ->
            val (left, right) = mergePair(json.value(), rank)
            val ids = intArrayOf(id(left, rank), id(right, rank), id(left + right, rank))
            merges.add(ids[0], ids[1], rank, ids[2])
        }
        json.seek(end)
        return merges
    }

    private fun mergePair(raw: Any?, rank: Int): Pair<String, String> {
        val parts = if (raw is String) raw.split(' ') else raw as? List<*>
        val left = parts?.getOrNull(0) as? String
        val right = parts?.getOrNull(1) as? String
        if (left == null || right == null || parts.size != 2) throw TokenizerError("$where: merge $rank is no pair")
        return left to right
    }

    private fun id(text: String, rank: Int): Int {
        val bytes = ByteLevel.bytes(text) ?: text.toByteArray()
        val id = tokens.id(bytes)
        if (id < 0) throw TokenizerError("$where: merge $rank needs the token '$text', which the vocabulary lacks")
        return id
    }

    private fun splits(raw: Any?): List<Pattern> {
        val steps = if (type(raw) == "Sequence") (raw as Map<*, *>)["pretokenizers"] as? List<*> ?: emptyList<Any?>() else listOf(raw)
        refuse(type(steps.lastOrNull()) != "ByteLevel", "a pre-tokenizer that does not end with ByteLevel")
        val last = steps.last() as Map<*, *>
        refuse(last["use_regex"] != false || last["add_prefix_space"] != false, "a ByteLevel with a pattern or prefix of its own")
        return steps.dropLast(1).map { split(it) }
    }

    private fun split(raw: Any?): Pattern {
        val step = raw as? Map<*, *>
        val pattern = (step?.get("pattern") as? Map<*, *>)?.get("Regex") as? String
        refuse(
            pattern == null || type(raw) != "Split" || step["behavior"] != "Isolated" || step["invert"] == true,
            "a pre-tokenizer that is no Split by an isolated Regex",
        )
        return Pattern(pattern!!)
    }

    private fun addedToken(raw: Map<*, *>?): AddedToken {
        val content = raw?.get("content") as? String
        val id = raw?.get("id") as? Long
        if (content.isNullOrEmpty() || id == null || id !in 0..MAX_ID) throw TokenizerError("$where: an added token without content or id")
        for (key in listOf("single_word", "lstrip", "rstrip")) refuse(raw[key] == true, "added token '$content' with $key")
        return AddedToken(id.toInt(), content, raw["special"] == true)
    }

    private fun type(raw: Any?): Any? = (raw as? Map<*, *>)?.get("type")

    private fun refuse(isSo: Boolean, what: String) {
        if (isSo) throw TokenizerError("$where has $what, which this app does not read; export the bundle again")
    }

    companion object {
        private const val MAX_ID = 4_000_000L

        fun open(path: File): TokenizerFile =
            try {
                TokenizerFile(path.readBytes(), path.path)
            } catch (error: IOException) {
                throw TokenizerError("$path cannot be read (${error.message})", error)
            }
    }
}
