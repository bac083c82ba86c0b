package org.tinyaya.demo.model

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.ManifestError
import org.tinyaya.demo.bundle.ProgramError
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.LongBuffer

/**
 * An ONNX program in, logits out; the twin of `runtime/engines/onnx.py`.
 *
 * Past and present of a cache are one tensor over one buffer, bound as input and as pinned output,
 * so ONNX Runtime writes where it read and nothing is copied.
 */
class OnnxEngine(private val bundle: Bundle, threads: Int, private val memory: CacheMemory) : Engine {
    private val manifest = bundle.manifest
    private val environment = OrtEnvironment.getEnvironment().also { it.setTelemetry(false) }
    private val session: OrtSession
    private val caches = mutableListOf<ByteBuffer>() // keys and values of the first layer, of the next ...
    private val tensors = mutableListOf<OnnxTensor>()
    private val inputs = HashMap<String, OnnxTensor>()
    private val pinned = HashMap<String, OnnxTensor>()
    private val ones = longs(manifest.limits.context).also { while (it.hasRemaining()) it.put(1) }
    private val ids = longs(manifest.limits.chunk)
    private val logits = floats(manifest.model.vocabSize)
    private val result = FloatArray(manifest.model.vocabSize)
    private val preamble: List<ByteBuffer>?
    private val windowSlots = manifest.cache.map { it.slots }.filter { it < manifest.limits.context }.distinct()
    private var end = 0

    init {
        session = load(threads)
        try {
            checkCaches()
            manifest.cache.forEachIndexed { layer, _ -> for (part in listOf("key", "value")) bind(layer, part) }
            val output = tensor { OnnxTensor.createTensor(environment, logits, longArrayOf(1, 1, result.size.toLong())) }
            pinned["logits"] = output
            preamble = manifest.preamble?.let { PreambleFile.read(bundle, caches.size) }
        } catch (error: OrtException) {
            close()
            throw failure(error)
        } catch (error: RuntimeException) {
            close()
            throw error
        }
    }

    override fun step(ids: IntArray, position: Int): FloatArray {
        end = position + ids.size
        this.ids.clear()
        ids.forEach { this.ids.put(it.toLong()) }
        try {
            OnnxTensor.createTensor(environment, this.ids.flip() as LongBuffer, longArrayOf(1, ids.size.toLong())).use { idTensor ->
                ones.position(0).limit(end)
                OnnxTensor.createTensor(environment, ones, longArrayOf(1, end.toLong())).use { mask ->
                    inputs["input_ids"] = idTensor
                    inputs["attention_mask"] = mask
                    session.run(inputs, emptySet(), pinned).close()
                }
            }
        } catch (error: OrtException) {
            throw failure(error)
        }
        logits.position(0)
        logits.get(result)
        return result
    }

    override fun restore() {
        val known = checkNotNull(preamble) { "the bundle has no preamble" }
        val count = checkNotNull(manifest.preamble).ids.size
        for ((index, first) in known.withIndex()) {
            val shape = manifest.cache[index / 2]
            val rowBytes = (shape.positionBytes / 2 / shape.kvHeads).toInt()
            for (head in 0 until shape.kvHeads) {
                val source = first.duplicate()
                source.limit((head + 1) * count * rowBytes).position(head * count * rowBytes)
                val target = caches[index].duplicate()
                target.position(head * shape.slots * rowBytes)
                target.put(source)
            }
        }
        end = count
    }

    /** True until a window layer has moved its keys down. */
    override fun canRewind(position: Int): Boolean =
        position == 0 || windowSlots.all { moves(position, it) == moves(end, it) }

    /**
     * How often a window layer of [slots] has made room on the way to [end] positions: it appends until
     * it is full, drops its oldest slots - window + 1, and appends on.
     */
    private fun moves(end: Int, slots: Int): Int {
        val room = slots - checkNotNull(manifest.model.window) + 1
        return maxOf(0, -Math.floorDiv(-(end - slots), room))
    }

    override fun close() {
        tensors.forEach { it.close() }
        tensors.clear()
        session.close()
        memory.close()
    }

    private fun load(threads: Int): OrtSession =
        try {
            OrtSession.SessionOptions().use { options ->
                options.setIntraOpNumThreads(threads)
                options.setInterOpNumThreads(1)
                options.setSessionLogLevel(ai.onnxruntime.OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR)
                environment.createSession(bundle.file(manifest.program).path, options)
            }
        } catch (error: OrtException) {
            throw failure(error)
        }

    private fun bind(layer: Int, part: String) {
        val shape = manifest.cache[layer]
        val bytes = shape.positionBytes / 2 * shape.slots
        if (bytes > Int.MAX_VALUE) throw ManifestError("layer $layer keeps $bytes bytes; expected less than 2^31")
        val buffer = memory.allocate(bytes.toInt())
        caches += buffer
        val sizes = longArrayOf(1, shape.kvHeads.toLong(), shape.slots.toLong(), shape.headDim.toLong())
        val cache = tensor { OnnxTensor.createTensor(environment, buffer.duplicate().order(ByteOrder.nativeOrder()), sizes, TYPES[shape.dtype]) }
        inputs["past_key_values.$layer.$part"] = cache
        pinned["present.$layer.$part"] = cache
    }

    private fun checkCaches() {
        val found = session.inputInfo
        manifest.cache.forEachIndexed { layer, shape ->
            val kind = (found["past_key_values.$layer.key"]?.info as? TensorInfo)?.type
            if (kind != TYPES[shape.dtype]) {
                throw ProgramError(
                    "${bundle.name} keeps layer $layer as $kind, the manifest says ${shape.dtype}; export the bundle again",
                )
            }
        }
    }

    private fun tensor(create: () -> OnnxTensor): OnnxTensor = create().also { tensors += it }

    private fun failure(error: OrtException) =
        ProgramError("ONNX Runtime ${environment.version} does not run ${bundle.name}: ${error.message}", error)

    private fun longs(count: Int): LongBuffer =
        ByteBuffer.allocateDirect(count * Long.SIZE_BYTES).order(ByteOrder.nativeOrder()).asLongBuffer()

    private fun floats(count: Int) =
        ByteBuffer.allocateDirect(count * Float.SIZE_BYTES).order(ByteOrder.nativeOrder()).asFloatBuffer()

    private companion object {
        val TYPES = mapOf("float32" to OnnxJavaType.FLOAT, "int8" to OnnxJavaType.INT8)
    }
}
