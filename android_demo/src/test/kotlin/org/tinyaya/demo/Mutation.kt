package org.tinyaya.demo

import org.tinyaya.demo.bundle.JsonReader
import org.tinyaya.demo.bundle.JsonWriter
import kotlin.random.Random

/** A JSON text and chance in, a text with one to three faults out: of bytes, of values or of keys. */
object Mutation {
    private val VALUES = listOf<Any?>(
        null, true, -1L, 0L, 1L, Long.MAX_VALUE, 1e300, -0.5, "", "../x", "x".repeat(300), listOf<Any>(), mapOf<String, Any>(),
        listOf(listOf(1L)), "\ud800", 2147483648L,
    )

    fun mutate(text: String, chance: Random): ByteArray =
        if (chance.nextInt(3) == 0) bytes(text.toByteArray(), chance) else tree(text, chance).toByteArray()

    private fun bytes(text: ByteArray, chance: Random): ByteArray {
        val changed = text.copyOf(if (chance.nextInt(4) == 0) chance.nextInt(text.size) else text.size)
        if (changed.isNotEmpty()) repeat(1 + chance.nextInt(3)) { changed[chance.nextInt(changed.size)] = chance.nextInt(256).toByte() }
        return changed
    }

    private fun tree(text: String, chance: Random): String {
        var tree = JsonReader(text.toByteArray()).document()
        repeat(1 + chance.nextInt(2)) { tree = change(tree, chance, 0) }
        return JsonWriter.write(tree)
    }

    /** Walks down a random path and puts another value, or none, at its end. */
    private fun change(tree: Any?, chance: Random, depth: Int): Any? {
        val stop = depth > 0 && chance.nextInt(4) == 0
        return when {
            !stop && tree is Map<*, *> && tree.isNotEmpty() -> {
                val key = tree.keys.random(chance)
                if (chance.nextInt(6) == 0) tree - key else tree + (key to change(tree[key], chance, depth + 1))
            }
            !stop && tree is List<*> && tree.isNotEmpty() -> {
                val index = chance.nextInt(tree.size)
                if (chance.nextInt(6) == 0) {
                    tree.filterIndexed { i, _ -> i != index }
                } else {
                    tree.mapIndexed { i, item -> if (i == index) change(item, chance, depth + 1) else item }
                }
            }
            else -> VALUES.random(chance)
        }
    }

    /** A tokenizer of the same shape with the first merges alone, so that a thousand are read in seconds. */
    fun smallTokenizer(text: String): String {
        val tree = JsonReader(text.toByteArray()).document().map()
        val model = tree["model"].map()
        val vocab = model["vocab"].map()
        val merges = model["merges"].list().take(40)
        val kept = merges.flatMap { pair -> pair.list().map { it.text() } + pair.list().joinToString("") }.toSet()
        val added = tree["added_tokens"].list().map { it.map()["content"] }
        val small = vocab.filterKeys { it.text().length == 1 || it in kept || it in added }
        return JsonWriter.write(tree + ("model" to (model + ("vocab" to small) + ("merges" to merges))))
    }
}
